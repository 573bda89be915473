// Settings of the control plane that must fit together: its source, and what it tells waypoints about spans.
import assert from 'node:assert/strict'
import { readSettings, tracingOf } from '../../../controlplane/settings.ts'

const NEEDED = ['--api-socket', '/run/api.sock', '--ca-dir', '/run/ca']

describe('settings of the control plane', () => {
  const rows: { name: string; args: string[]; want: unknown }[] = [
    { name: 'no spans by themselves', args: [], want: undefined },
    {
      name: 'a collector alone',
      args: ['--tracing-endpoint', 'http://collector:4317'],
      want: { endpoint: 'http://collector:4317', protocol: 'grpc', sampling: '1', ca: '' },
    },
    {
      name: 'a collector that takes JSON',
      args: ['--tracing-endpoint', 'https://collector:4318', '--tracing-protocol', 'http', '--tracing-sampling', '12.5'],
      want: { endpoint: 'https://collector:4318', protocol: 'http', sampling: '12.5', ca: '' },
    },
  ]
  for (const { name, args, want } of rows)
    it(name, () => {
      const parsed = readSettings([...NEEDED, ...args], {})
      assert.ok(parsed.ok)
      assert.deepEqual(tracingOf(parsed.value), want)
    })

  const sources: { name: string; args: string[]; want: string[] }[] = [
    { name: 'the local runtime is the default', args: NEEDED, want: [] },
    { name: 'a pod of a cluster', args: ['--source', 'kubernetes', '--pod-name', 'controlplane-1'], want: [] },
    { name: 'a kubeconfig', args: ['--source=kubernetes', '--pod-name=x', '--kubeconfig=/k', '--context=c'], want: [] },
    {
      name: 'the local runtime without its paths',
      args: [],
      want: ['--api-socket is required with --source store', '--ca-dir is required with --source store'],
    },
    {
      name: 'a cluster without a name of ours',
      args: ['--source', 'kubernetes', '--pod-namespace', '', '--context', 'c'],
      want: [
        '--pod-name is required with --source kubernetes',
        '--pod-namespace is required with --source kubernetes',
        '--context is of a kubeconfig: --kubeconfig is required with it',
      ],
    },
    { name: 'another source', args: ['--source', 'etcd'], want: ['--source is neither store nor kubernetes'] },
  ]
  for (const { name, args, want } of sources)
    it(`source: ${name}`, () => {
      const parsed = readSettings(args, {})
      assert.deepEqual(parsed.ok ? [] : parsed.errors, want)
    })

  it('say every fault at once', () => {
    const parsed = readSettings(
      [
        ...NEEDED,
        '--tracing-endpoint',
        'collector:4317',
        '--tracing-protocol',
        'udp',
        '--tracing-ca',
        '/a/file',
        '--tracing-sampling',
        '101',
      ],
      {},
    )
    assert.deepEqual(parsed.ok ? [] : parsed.errors, [
      '--tracing-endpoint is not http://host:port',
      '--tracing-protocol is neither grpc nor http',
      '--tracing-ca is not certificates in PEM',
      '--tracing-sampling is not a number from 0 to 100',
    ])
  })
})
