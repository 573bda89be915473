// Rights: what the mesh's accounts have asked the API server, in this test and in those before it (it runs late, by its name), is what the
// chart's rules allow, and every rule is used.
import assert from 'node:assert/strict'
import { createReadStream, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { SHOP_DIR } from '../../cli/demo/shop-stage.ts'
import { NOT_READY_TAINT } from '../../cni/kubernetes/taint.ts'
import { parseFile } from '../../objects/document.ts'
import { until } from './cluster/processes.ts'
import { meshCluster, type MeshCluster, SYSTEM } from './mesh-cluster.ts'
import { isEnrolled, MeshNamespace } from './pods.ts'

interface Rule {
  readonly apiGroups?: readonly string[]
  readonly resources?: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly verbs: readonly string[]
}

interface Role {
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly rules?: readonly Rule[] | null
}

interface Binding {
  readonly metadata: { readonly namespace?: string }
  readonly roleRef: { readonly kind: string; readonly name: string }
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace?: string }[]
}

/** One right: an account may do a verb to a resource, somewhere. */
interface Right {
  readonly account: string
  readonly verb: string
  /** `group/resource`, with `/subresource`. */
  readonly resource: string
  /** undefined: of the whole cluster. */
  readonly namespace: string | undefined
  readonly names: readonly string[]
}

interface AuditEvent {
  readonly verb: string
  readonly user: { readonly username: string }
  readonly objectRef?: {
    readonly apiGroup?: string
    readonly resource?: string
    readonly subresource?: string
    readonly namespace?: string
    readonly name?: string
  }
  readonly responseStatus?: { readonly code?: number; readonly reason?: string }
  readonly annotations?: Readonly<Record<string, string>>
}

const ACCOUNT = new RegExp(`^system:serviceaccount:${SYSTEM}:(controlplane|cni|ztunnel)$`)

/** Rights that may stay unused, each with the reason that it is there. */
const UNUSED: Readonly<Record<string, string>> = {
  'cni get /pods': 'a pod whose ADD comes before the watch knows it',
  'controlplane update gateway.networking.k8s.io/gateways/finalizers':
    'asked by the admission plugin OwnerReferencesPermissionEnforcement only',
}
const SPACE = 'rights'
const SHOP_FILES = [
  'routes/canary.yaml',
  'routes/delay.yaml',
  'routes/limit.yaml',
  'routes/waypoint.yaml',
  'policies/strict.yaml',
  'policies/no-batch.yaml',
]
const STATUS_MS = 60_000

describe('what the mesh asks the API server', () => {
  let mesh: MeshCluster
  let rights: readonly Right[]
  let asked: ReadonlyMap<string, AuditEvent>
  before(async () => {
    mesh = await meshCluster()
    await makeItAsk(mesh)
    rights = await rightsOf(mesh)
    asked = await readAudit(mesh.cluster.layout.auditLog)
  })

  after(async () => {
    await mesh.cluster.kubectl('delete', 'namespace', SPACE, '--ignore-not-found')
  })

  it('asks nothing that the chart does not allow', () => {
    const strange = [...asked.values()].filter((event) => !rights.some((right) => isUse(right, event)))
    assert.deepEqual(
      strange.map(({ verb, user, objectRef }) => `${user.username} ${verb} ${JSON.stringify(objectRef)}`),
      [],
    )
    assert.ok(asked.size > 0, 'the log has what the accounts asked')
  })

  it('uses every right that the chart grants', () => {
    const events = [...asked.values()]
    const idle = rights.filter((right) => !events.some((event) => isUse(right, event))).map(textOf)
    assert.deepEqual(
      idle.filter((text) => UNUSED[text] === undefined),
      [],
      'granted, but never used',
    )
  })
})

/** A bit of everything: kinds with a status, a waypoint that comes and goes, a node that was registered with the taint. */
async function makeItAsk(mesh: MeshCluster): Promise<void> {
  const { cluster } = mesh
  await cluster.kubectl('taint', 'node', 'node1', `${NOT_READY_TAINT}=:NoSchedule`, '--overwrite')
  const space = await MeshNamespace.make(mesh, SPACE)
  await cluster.kubectl('label', 'namespace', SPACE, 'istio.io/use-waypoint=waypoint')
  const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'payments', namespace: SPACE }, spec: { ports: [{ port: 80 }] } }
  const parentRefs = [{ kind: 'Service', group: '', name: 'payments', port: 80 }]
  const grpc = { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'GRPCRoute', spec: { parentRefs, rules: [] } }
  const virtual = { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', spec: { hosts: ['payments'], http: [] } }
  const rule = { apiVersion: 'networking.istio.io/v1', kind: 'DestinationRule', spec: { host: 'payments' } }
  const entry = { apiVersion: 'networking.istio.io/v1', kind: 'ServiceEntry', spec: { hosts: ['asked.example'], resolution: 'DNS' } }
  const others = [grpc, virtual, rule, entry].map((object) => ({ ...object, metadata: { name: 'asked', namespace: SPACE } }))
  const objects = SHOP_FILES.flatMap((file) => {
    const path = join(SHOP_DIR, file)
    return parseFile(readFileSync(path, 'utf8'), path).documents.map(({ object }) => ({
      ...object,
      metadata: { ...object.metadata, namespace: SPACE },
    }))
  })
  await cluster.apply(service, ...objects, ...others)
  await cluster.apply(space.pod('one', 2, 'exec sleep 100000'))
  await until('the pod is in the mesh', STATUS_MS, async () => isEnrolled(await space.get('one')))
  await until('the waypoint is made', STATUS_MS, async () => (await cluster.try('-n', SPACE, 'get', 'deployment', 'waypoint')).status === 0)
  const rest = ['httproutes', 'authorizationpolicies', 'ratelimitpolicies']
  for (const plural of ['grpcroutes', 'virtualservices', 'destinationrules', 'serviceentries', ...rest]) {
    const path = 'jsonpath={.items[*].status}'
    await until(`${plural} have a status`, STATUS_MS, async () => (await cluster.kubectl('-n', SPACE, 'get', plural, '-o', path)) !== '')
  }
  // of another class it is no waypoint any more; were it deleted, the cluster itself would clear up behind it
  const patch = JSON.stringify({ spec: { gatewayClassName: 'somebody-elses' } })
  await cluster.kubectl('-n', SPACE, 'patch', 'gateways.gateway.networking.k8s.io', 'waypoint', '--type=merge', '-p', patch)
  await until('the waypoint is gone', STATUS_MS, async () => (await cluster.try('-n', SPACE, 'get', 'deployment', 'waypoint')).status !== 0)
  await until(
    'the taint is off',
    STATUS_MS,
    async () => !(await cluster.kubectl('get', 'node', 'node1', '-o', 'jsonpath={.spec.taints}')).includes(NOT_READY_TAINT),
  )
}

async function rightsOf({ cluster }: MeshCluster): Promise<Right[]> {
  const list = async <T>(...args: readonly string[]): Promise<readonly T[]> => (await cluster.get<{ items: readonly T[] }>(...args)).items
  const roles = [...(await list<Role>('clusterroles')), ...(await list<Role>('-n', SYSTEM, 'roles'))]
  const bindings = [...(await list<Binding>('clusterrolebindings')), ...(await list<Binding>('-A', 'rolebindings'))]
  return bindings.flatMap((binding) => {
    const accounts = (binding.subjects ?? []).filter((one) => one.kind === 'ServiceAccount' && one.namespace === SYSTEM)
    const role = roles.find(
      ({ metadata }) => metadata.name === binding.roleRef.name && (metadata.namespace !== undefined) === (binding.roleRef.kind === 'Role'),
    )
    return accounts.flatMap(({ name }) => (role?.rules ?? []).flatMap((rule) => spread(name, rule, binding.metadata.namespace)))
  })
}

function spread(account: string, rule: Rule, namespace: string | undefined): Right[] {
  return (rule.apiGroups ?? []).flatMap((group) =>
    (rule.resources ?? []).flatMap((resource) =>
      rule.verbs.map((verb) => ({ account, verb, resource: `${group}/${resource}`, namespace, names: rule.resourceNames ?? [] })),
    ),
  )
}

/** One event per different question; refused ones are kept apart from those that were allowed. */
async function readAudit(file: string): Promise<Map<string, AuditEvent>> {
  const found = new Map<string, AuditEvent>()
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const event = JSON.parse(line) as AuditEvent
    const account = ACCOUNT.exec(event.user.username)?.[1]
    const { objectRef } = event
    if (account === undefined || objectRef?.resource === undefined) continue // discovery needs no right
    const key = `${account} ${event.verb} ${resourceOf(event)} ${objectRef.namespace ?? ''} ${objectRef.name ?? ''} ${event.annotations?.['authorization.k8s.io/decision']}`
    if (!found.has(key)) found.set(key, event)
  }
  return found
}

function resourceOf({ objectRef }: AuditEvent): string {
  const { apiGroup = '', resource = '', subresource } = objectRef ?? {}
  return `${apiGroup}/${resource}${subresource === undefined ? '' : `/${subresource}`}`
}

/** A server-side apply that makes the object needs `create` besides `patch`; the log has it as a patch that answered 201. */
function isUse(right: Right, event: AuditEvent): boolean {
  const { objectRef } = event
  const isVerb = event.verb === right.verb || (right.verb === 'create' && event.verb === 'patch' && event.responseStatus?.code === 201)
  return (
    isVerb &&
    ACCOUNT.exec(event.user.username)?.[1] === right.account &&
    resourceOf(event) === right.resource &&
    (right.namespace === undefined || right.namespace === objectRef?.namespace) &&
    (right.names.length === 0 || right.names.includes(objectRef?.name ?? ''))
  )
}

function textOf({ account, verb, resource, namespace, names }: Right): string {
  return [
    account,
    verb,
    resource,
    ...(namespace === undefined ? [] : [`in ${namespace}`]),
    ...(names.length === 0 ? [] : [names.join(',')]),
  ].join(' ')
}
