/** What a hub answers when it does not give something, in words that lead on. No message holds a token or a header. */
import { issue, type Issue } from '../issue.ts'
import { pageOf, shownRepo, type Repo } from './address.ts'
import type { HubSettings } from './settings.ts'

/** Who asked for what. */
export interface Asking {
  readonly repo: Repo
  readonly settings: HubSettings
  /** The owner wants a licence to be accepted. */
  readonly gated: boolean
}

const nameOf = ({ kind }: Repo): string => (kind === 'dataset' ? 'compiler.dataset' : 'base_model')

const gatedIssue = ({ repo, settings }: Asking): Issue => {
  const page = pageOf(settings.endpoint, repo)
  const known = settings.token() !== null
  return issue(
    known
      ? `${shownRepo(repo)} is gated, and the account of the token has not been let in`
      : `${shownRepo(repo)} is gated: its owner wants a licence to be accepted first`,
    {
      path: nameOf(repo),
      hint: `accept the licence on ${page}${
        known
          ? ', wait until its owner has let you in, and see that the token may read gated repositories'
          : `, make a token on ${settings.endpoint}/settings/tokens, and set HF_TOKEN to it`
      }`,
    },
  )
}

const absentIssue = ({ repo, settings }: Asking): Issue =>
  issue(
    `${settings.endpoint} has no ${repo.kind} ${shownRepo(repo)}, or none that everyone may read`,
    {
      path: nameOf(repo),
      hint: `look at ${pageOf(settings.endpoint, repo)}; for a private one set HF_TOKEN`,
    },
  )

/** A status that is no success. */
export const statusIssue = (asking: Asking, status: number): Issue => {
  if ((status === 401 || status === 403) && asking.gated) return gatedIssue(asking)
  if (status === 401 || status === 404) return absentIssue(asking)
  if (status === 403)
    return issue(`${asking.settings.endpoint} refuses ${shownRepo(asking.repo)}`, {
      path: nameOf(asking.repo),
      hint: 'see that the token in HF_TOKEN may read it',
    })
  return issue(
    `${asking.settings.endpoint} answered with status ${status} for ${shownRepo(asking.repo)}`,
    {
      path: nameOf(asking.repo),
      hint:
        status === 429 || status >= 500 ? 'try again later' : 'see whether HF_ENDPOINT is a hub',
    },
  )
}

const causeOf = (e: unknown): string => {
  const cause = e instanceof Error && e.cause instanceof Error ? e.cause : e
  if (!(cause instanceof Error)) return String(cause)
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message
}

/** No answer came. */
export const networkIssue = ({ repo, settings }: Asking, e: unknown): Issue =>
  issue(`${settings.endpoint} cannot be reached for ${shownRepo(repo)}: ${causeOf(e)}`, {
    path: nameOf(repo),
    hint: 'check the connection, and HF_ENDPOINT where a mirror is meant; with HF_HUB_OFFLINE=1 only the cache is asked',
  })

export const offlineIssue = ({ repo, settings }: Asking): Issue =>
  issue(`${shownRepo(repo)} is not in the cache, and HF_HUB_OFFLINE says to ask nobody`, {
    path: nameOf(repo),
    expected: `its files below ${settings.cache}`,
    hint: 'leave HF_HUB_OFFLINE out once',
  })

const statusOf = (e: unknown): number | null =>
  e instanceof Error && 'statusCode' in e && typeof e.statusCode === 'number' ? e.statusCode : null

/** The error of a call: a status, or no answer at all. */
export const problemOf =
  (asking: Asking) =>
  (e: unknown): Issue => {
    const status = statusOf(e)
    return status === null ? networkIssue(asking, e) : statusIssue(asking, status)
  }

/** The same of a call that writes. */
export const writeProblemOf =
  ({ repo, settings }: Asking) =>
  (e: unknown): Issue => {
    const status = statusOf(e)
    const what = `${settings.endpoint} did not take ${repo.id}`
    if (status === null) return issue(`${what}: ${causeOf(e)}`, { hint: 'check the connection' })
    const refused = status === 401 || status === 403
    return issue(refused ? `${what}: the token may not write there` : `${what}: status ${status}`, {
      hint: refused
        ? `see what the token may do on ${settings.endpoint}/settings/tokens, and whether the owner's name is right`
        : 'try again later',
    })
  }
