// Which pods are enrolled: labels, annotations, exclusions (reference/istio-ambient.md 1.1).
import assert from 'node:assert/strict'
import { decide, explain } from '../../../cni/rules.ts'
import type { Namespace, Pod, StringMap } from '../../../model/object.ts'

interface Row {
  readonly name: string
  readonly pod?: StringMap
  readonly annotations?: StringMap
  readonly namespace?: StringMap | null
  readonly in?: string
  readonly isHostNetwork?: boolean
  readonly want: string
}

const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' }
const NONE = { 'istio.io/dataplane-mode': 'none' }
const SIDECAR = { 'sidecar.istio.io/status': '{}' }

const TABLE: readonly Row[] = [
  { name: 'no label anywhere', want: 'skip NOT_LABELLED' },
  { name: 'namespace unknown', namespace: null, want: 'skip NOT_LABELLED' },
  { name: 'labelled namespace', namespace: AMBIENT, want: 'enrol NAMESPACE_LABEL' },
  { name: 'labelled pod', pod: AMBIENT, want: 'enrol POD_LABEL' },
  { name: 'labelled pod, namespace unknown', pod: AMBIENT, namespace: null, want: 'enrol POD_LABEL' },
  { name: 'labelled pod in a namespace that says none', pod: AMBIENT, namespace: NONE, want: 'enrol POD_LABEL' },
  { name: 'pod opts out of a labelled namespace', pod: NONE, namespace: AMBIENT, want: 'skip OPTED_OUT' },
  { name: 'namespace says none', namespace: NONE, want: 'skip NOT_LABELLED' },
  { name: 'a value that nobody knows', namespace: { 'istio.io/dataplane-mode': 'Ambient' }, want: 'skip NOT_LABELLED' },
  {
    name: 'a pod value that nobody knows does not opt out',
    pod: { 'istio.io/dataplane-mode': 'x' },
    namespace: AMBIENT,
    want: 'enrol NAMESPACE_LABEL',
  },
  { name: 'host network in a labelled namespace', namespace: AMBIENT, isHostNetwork: true, want: 'skip HOST_NETWORK' },
  { name: 'labelled pod on the host network', pod: AMBIENT, isHostNetwork: true, want: 'refuse HOST_NETWORK' },
  { name: 'sidecar in a labelled namespace', namespace: AMBIENT, annotations: SIDECAR, want: 'skip HAS_SIDECAR' },
  { name: 'labelled pod with a sidecar', pod: AMBIENT, annotations: SIDECAR, want: 'refuse HAS_SIDECAR' },
  { name: 'excluded namespace with the label', in: 'kube-system', namespace: AMBIENT, want: 'skip EXCLUDED_NAMESPACE' },
  { name: 'labelled pod in an excluded namespace', in: 'weft-system', pod: AMBIENT, want: 'refuse EXCLUDED_NAMESPACE' },
  { name: 'unlabelled pod in an excluded namespace', in: 'kube-system', want: 'skip NOT_LABELLED' },
  { name: 'opted-out pod with a sidecar', pod: NONE, annotations: SIDECAR, namespace: AMBIENT, want: 'skip OPTED_OUT' },
  {
    name: 'bypass-inbound annotation',
    namespace: AMBIENT,
    annotations: { 'ambient.istio.io/bypass-inbound-capture': 'true' },
    want: 'enrol NAMESPACE_LABEL outbound only',
  },
  {
    name: 'bypass-inbound annotation with another value',
    pod: AMBIENT,
    annotations: { 'ambient.istio.io/bypass-inbound-capture': 'yes' },
    want: 'enrol POD_LABEL',
  },
]

describe('cni/rules', () => {
  for (const row of TABLE) {
    it(`${row.name}: ${row.want}`, () => {
      const pod: Pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'p', namespace: row.in ?? 'shop', labels: row.pod ?? {}, annotations: row.annotations ?? {} },
        spec: { containers: [], ...(row.isHostNetwork === undefined ? {} : { hostNetwork: row.isHostNetwork }) },
      }
      const namespace: Namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: row.namespace ?? {} } }
      const decision = decide(pod, row.namespace === null ? undefined : namespace, new Set(['kube-system', 'weft-system']))
      const suffix = decision.kind === 'enrol' && decision.bypassesInbound ? ' outbound only' : ''
      assert.equal(`${decision.kind} ${decision.reason}${suffix}`, row.want)
      assert.ok(explain(decision).length > 20)
    })
  }
})
