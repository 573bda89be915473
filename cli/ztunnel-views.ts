// Views of a ztunnel's /config_dump: lists and istioctl's columns. Our ztunnel and the stock one give the same JSON, so
// every field is read with care: what is absent is shown as `-`.

/** What is read of a dump. */
export interface ZtunnelDump {
  readonly workloads?: readonly DumpedWorkload[]
  readonly services?: readonly DumpedService[]
  readonly policies?: readonly { readonly namespace?: string; readonly name?: string; readonly action?: string; readonly scope?: string }[]
  readonly certificates?: readonly DumpedCertificate[]
  readonly workloadState?: Readonly<Record<string, DumpedPod>>
}

/** One view. `isOfNode`: rows differ by node and are shown with it. */
export interface View {
  readonly header: readonly string[]
  readonly isOfNode: boolean
  values(dump: ZtunnelDump): unknown
  /** @param nowMs wall time, for the validity of certificates */
  rows(dump: ZtunnelDump, nowMs: number): string[][]
}

/** Views by name. */
export const VIEWS: Readonly<Record<string, View>> = {
  workloads: {
    header: ['NAMESPACE', 'POD NAME', 'ADDRESS', 'NODE', 'WAYPOINT', 'PROTOCOL'],
    isOfNode: false,
    values: (dump) => dump.workloads ?? [],
    rows: (dump) =>
      (dump.workloads ?? []).map((one) => [
        one.namespace ?? '-',
        one.name ?? '-',
        one.workloadIps?.join(',') ?? '-',
        one.node ?? '-',
        waypointOf(one, dump),
        one.pending === true ? 'PENDING' : (one.protocol ?? '-'),
      ]),
  },
  services: {
    header: ['NAMESPACE', 'SERVICE NAME', 'SERVICE VIP', 'WAYPOINT', 'ENDPOINTS'],
    isOfNode: false,
    values: (dump) => dump.services ?? [],
    rows: (dump) =>
      (dump.services ?? []).map((one) => {
        const all = Object.values(one.endpoints ?? {})
        const vips = (one.vips ?? []).map((vip) => vip.slice(vip.indexOf('/') + 1))
        return [
          one.namespace ?? '-',
          one.name ?? '-',
          vips.join(',') || '-',
          waypointOf(one, dump),
          `${all.filter((endpoint) => endpoint.status === undefined || endpoint.status === 'Healthy').length}/${all.length}`,
        ]
      }),
  },
  policies: {
    header: ['NAMESPACE', 'POLICY NAME', 'ACTION', 'SCOPE'],
    isOfNode: false,
    values: (dump) => dump.policies ?? [],
    rows: (dump) => (dump.policies ?? []).map((one) => [one.namespace || '-', one.name ?? '-', one.action ?? '-', one.scope ?? '-']),
  },
  certificates: {
    header: ['CERTIFICATE NAME', 'TYPE', 'STATUS', 'VALID CERT', 'SERIAL NUMBER', 'NOT AFTER', 'NOT BEFORE'],
    isOfNode: true,
    values: (dump) => dump.certificates ?? [],
    rows: (dump, nowMs) =>
      (dump.certificates ?? []).flatMap((one) => [
        ...(one.certChain ?? []).slice(0, 1).map((certificate) => certificateRow(one, 'Leaf', certificate, nowMs)),
        ...(one.rootCerts ?? []).map((certificate) => certificateRow(one, 'Root', certificate, nowMs)),
        ...((one.certChain ?? []).length === 0 ? [[one.identity ?? '-', 'Leaf', one.state ?? '-', 'false', '-', '-', '-']] : []),
      ]),
  },
  connections: {
    header: ['WORKLOAD', 'DIRECTION', 'LOCAL', 'REMOTE', 'REMOTE TARGET', 'PROTOCOL'],
    isOfNode: true,
    values: (dump) => dump.workloadState ?? {},
    rows: (dump) =>
      Object.entries(dump.workloadState ?? {}).flatMap(([uid, pod]) => {
        const name = pod.info === undefined ? uid : `${pod.info.name}.${pod.info.namespace}`
        const inbound = (pod.connections?.inbound ?? []).map((one) => [
          name,
          'Inbound',
          one.actualDst ?? '-',
          one.src ?? '-',
          one.identity ?? '-',
          one.protocol ?? '-',
        ])
        const outbound = (pod.connections?.outbound ?? []).map((one) => [
          name,
          'Outbound',
          one.src ?? '-',
          one.actualDst ?? '-',
          one.originalDst ?? '-',
          one.protocol ?? '-',
        ])
        return [...inbound, ...outbound]
      }),
  },
}

interface DumpedWorkload {
  readonly namespace?: string
  readonly name?: string
  readonly workloadIps?: readonly string[]
  readonly node?: string
  readonly waypoint?: { readonly destination?: string }
  readonly protocol?: string
  readonly pending?: boolean
}

interface DumpedService {
  readonly namespace?: string
  readonly name?: string
  readonly hostname?: string
  readonly vips?: readonly string[]
  readonly waypoint?: { readonly destination?: string }
  readonly endpoints?: Readonly<Record<string, { readonly status?: string }>>
}

interface DumpedX509 {
  readonly serialNumber?: string
  readonly validFrom?: string
  readonly expirationTime?: string
}

interface DumpedCertificate {
  readonly identity?: string
  readonly state?: string
  readonly certChain?: readonly DumpedX509[]
  readonly rootCerts?: readonly DumpedX509[]
}

interface DumpedConnection {
  readonly src?: string
  readonly originalDst?: string
  readonly actualDst?: string
  readonly protocol?: string
  readonly identity?: string
}

interface DumpedPod {
  readonly info?: { readonly name: string; readonly namespace: string }
  readonly connections?: { readonly inbound?: readonly DumpedConnection[]; readonly outbound?: readonly DumpedConnection[] }
}

/** The name of the waypoint's service, as istioctl has it; an address of a service that is not known stays as it is. */
function waypointOf({ waypoint }: { readonly waypoint?: { readonly destination?: string } }, { services = [] }: ZtunnelDump): string {
  const wanted = waypoint?.destination
  if (wanted === undefined) return 'None'
  const found = services.find((one) => `${one.namespace}/${one.hostname}` === wanted || one.vips?.includes(wanted) === true)
  return found?.name ?? wanted
}

/** Dumps have serial numbers in decimal, openssl and istioctl show them in hexadecimal. */
function hexOf(serial: string | undefined): string {
  return serial === undefined || !/^\d{1,80}$/.test(serial) ? '-' : BigInt(serial).toString(16)
}

function certificateRow(one: DumpedCertificate, type: string, certificate: DumpedX509, nowMs: number): string[] {
  const isValid = Date.parse(certificate.validFrom ?? '') <= nowMs && nowMs < Date.parse(certificate.expirationTime ?? '')
  return [
    one.identity ?? '-',
    type,
    one.state ?? '-',
    String(isValid),
    hexOf(certificate.serialNumber),
    certificate.expirationTime ?? '-',
    certificate.validFrom ?? '-',
  ]
}
