/** What a plan's data deserves to have said about it. */
import type { Config } from '../config/schema/config.ts'
import { shortFindings } from '../data/findings-text.ts'
import { findingsOf } from '../data/findings.ts'
import { reportData, type DataReport } from '../data/report.ts'
import { batchingOf } from './batch.ts'
import { promptSpec, usedColumns } from './rows.ts'
import type { Plan } from './plan.ts'

/** Null without data. */
export const dataReportOf = ({ config, data, shapes }: Plan): DataReport | null =>
  data === null
    ? null
    : reportData(data, data.tokenizer, {
        prompt: promptSpec(config),
        uses: usedColumns(config),
        rowLength: shapes.length,
        batch: batchingOf(config.trainer, shapes.rows).effective,
        seed: config.random_seed,
      })

/** The findings of the report, a line each. `job`: the config that says which columns have an effect. */
export const dataFindings = ({ config, data }: Plan, job: Config = config): ReadonlyArray<string> =>
  data === null
    ? []
    : shortFindings(
        findingsOf(data, data.tokenizer, {
          prompt: promptSpec(config),
          uses: usedColumns(job),
        }),
      )
