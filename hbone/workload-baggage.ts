// A workload as it is told to the other end (CONNECT header `baggage`), and as the other end told it: for metrics and logs
// only, never for decisions.
import { formatBaggage, type BaggageFields } from './baggage.ts'
import type { Workload } from '../model/workload.ts'
import type { WorkloadFacts } from '../telemetry/connection-record.ts'

const TYPES = { DEPLOYMENT: 'deployment', CRONJOB: 'cronjob', POD: 'pod', JOB: 'job' } as const

/** What is sent about the source; empty values are left out by formatBaggage. */
export function baggageOf(workload: Workload): BaggageFields {
  return {
    cluster: workload.clusterId,
    namespace: workload.namespace,
    workload: workload.workloadName,
    workloadType: TYPES[workload.workloadType],
    service: workload.canonicalName,
    revision: workload.canonicalRevision,
    region: workload.locality.region,
    zone: workload.locality.zone,
  }
}

/** Texts of workloads that stand in a table: a change makes a new object. */
const texts = new WeakMap<Workload, string>()

/** @returns the header's value for a source, made once per workload */
export function baggageTextOf(workload: Workload): string {
  let text = texts.get(workload)
  if (text === undefined) {
    text = formatBaggage(baggageOf(workload))
    texts.set(workload, text)
  }
  return text
}

/** What a peer said, as the facts of a record; absent values stay absent. */
export function factsOfBaggage(fields: BaggageFields): WorkloadFacts {
  return {
    ...present('clusterId', fields.cluster),
    ...present('namespace', fields.namespace),
    ...present('workloadName', fields.workload),
    ...present('canonicalName', fields.service),
    ...present('canonicalRevision', fields.revision),
    locality: { region: fields.region ?? '', zone: fields.zone ?? '', subzone: '' },
  }
}

function present<K extends string>(key: K, value: string | undefined): { readonly [name in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [name in K]: string })
}
