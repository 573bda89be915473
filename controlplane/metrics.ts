// Metrics of the control plane, all with the prefix weft_controlplane_.
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** Metric name -> help. */
export const CONTROLPLANE_METRICS = {
  weft_controlplane_xds_clients: 'Proxies that are connected now',
  weft_controlplane_xds_pushes_total: 'xDS responses sent, by type',
  weft_controlplane_xds_push_bytes_total: 'Bytes of xDS responses sent, by type',
  weft_controlplane_xds_removals_total: 'Resources that xDS responses took back, by type: sudden many are a flap',
  weft_controlplane_xds_refusals_total: 'xDS responses that a proxy refused wholly or in part, by type',
  weft_controlplane_translation_seconds: 'Time from objects to resources',
  weft_controlplane_resources: 'Resources that are published, by kind',
  weft_controlplane_object_faults: 'Faults in objects that are in force in part only',
  weft_controlplane_certificates_total: 'Certificate requests, by result (issued, refused, busy)',
  weft_controlplane_token_reviews_total: 'Tokens that were reviewed, by where the answer came from (cache, api, failed, busy)',
  weft_controlplane_leader: '1 while this replica writes status, waypoints and roots',
  weft_controlplane_root_expiry_seconds: 'When the certificate authority in force ends, Unix time',
  weft_controlplane_settle_timeouts_total: 'Live enrolments that some proxy had not confirmed in time',
} as const

/** Handles of all metrics. */
export interface ControlplaneMetrics {
  readonly registry: Registry
  readonly clients: Gauge
  readonly pushes: Counter<'type'>
  readonly pushBytes: Counter<'type'>
  readonly removals: Counter<'type'>
  readonly refusals: Counter<'type'>
  readonly translation: Histogram
  readonly resources: Gauge<'kind'>
  readonly faults: Gauge
  readonly certificates: Counter<'result'>
  readonly tokenReviews: Counter<'from'>
  readonly settleTimeouts: Counter
  /** Says where the gauge of the leader is read. */
  leader(isLeader: () => boolean): void
  /** Says where the gauge of the root's end is read, Unix seconds. */
  rootExpiry(seconds: () => number): void
}

/** A fresh registry with every metric. */
export function makeMetrics(): ControlplaneMetrics {
  const registry = new Registry()
  const row = <T extends string>(name: keyof typeof CONTROLPLANE_METRICS, labelNames: T[] = []) => ({
    name,
    help: CONTROLPLANE_METRICS[name],
    labelNames,
    registers: [registry],
  })
  const read = (name: keyof typeof CONTROLPLANE_METRICS, value: () => number): Gauge =>
    new Gauge({
      ...row(name),
      collect() {
        this.set(value())
      },
    })
  return {
    registry,
    clients: new Gauge(row('weft_controlplane_xds_clients')),
    pushes: new Counter(row('weft_controlplane_xds_pushes_total', ['type'])),
    pushBytes: new Counter(row('weft_controlplane_xds_push_bytes_total', ['type'])),
    removals: new Counter(row('weft_controlplane_xds_removals_total', ['type'])),
    refusals: new Counter(row('weft_controlplane_xds_refusals_total', ['type'])),
    translation: new Histogram({ ...row('weft_controlplane_translation_seconds'), buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2] }),
    resources: new Gauge(row('weft_controlplane_resources', ['kind'])),
    faults: new Gauge(row('weft_controlplane_object_faults')),
    certificates: new Counter(row('weft_controlplane_certificates_total', ['result'])),
    tokenReviews: new Counter(row('weft_controlplane_token_reviews_total', ['from'])),
    leader: (isLeader) => void read('weft_controlplane_leader', () => (isLeader() ? 1 : 0)),
    rootExpiry: (seconds) => void read('weft_controlplane_root_expiry_seconds', seconds),
    settleTimeouts: new Counter(row('weft_controlplane_settle_timeouts_total')),
  }
}
