/** Names in a results folder that who only looks for one has to know. */

/** What a run is; its being there makes a folder one of results. */
export const descriptionName = 'description.json'
