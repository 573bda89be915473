// The command line: help of every command, exit codes, parsing, views and tables.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join, relative } from 'node:path'
import { connectMesh, parseTarget } from '../../../cli/connect.ts'
import { makeProgram, runWeft } from '../../../cli/main.ts'
import { collectLabel, countFrom, parseFormat, parseKind, parseMeshName } from '../../../cli/options.ts'
import { formatAge, formatTable, sentenceOf } from '../../../cli/output.ts'
import { VIEWS, type ZtunnelDump } from '../../../cli/ztunnel-views.ts'
import { parseFile } from '../../../objects/document.ts'
import { objectFailure } from '../../../objects/errors.ts'
import { formatDocumentFault, listFiles } from '../../../runtime/seed.ts'

const MISSING = 'never-started'
/** Without root that is said first. */
const STANDS_STILL = /^weft: (no mesh of this name is running .*weft up -f DIR|weft needs root.*sudo)\n$/
const ROOT = join(import.meta.dirname, '..', '..', '..')

describe('command line', () => {
  const names = makeProgram().commands.map((command) => command.name())
  it('has every verb', () => {
    const verbs = [
      'up',
      'down',
      'exec',
      'apply',
      'delete',
      'get',
      'label',
      'logs',
      'status',
      'check',
      'ztunnel-config',
      'waypoint',
      'release',
    ]
    assert.deepEqual(
      verbs.filter((verb) => !names.includes(verb)),
      [],
    )
  })
  it('gives help for each', () => {
    for (const command of makeProgram().commands) {
      const text = command.helpInformation()
      assert.match(text, new RegExp(`^Usage: weft ${command.name()}`))
      assert.ok(command.description().length > 10)
    }
  })
  const rows: { args: string[]; status: number; says: RegExp }[] = [
    { args: ['--help'], status: 0, says: /Usage: weft/ },
    { args: ['--version'], status: 0, says: /^0\.1\.0/ },
    { args: ['frob'], status: 2, says: /unknown command/ },
    { args: ['up', '--nodes', 'x'], status: 2, says: /A number from 1 to 32/ },
    { args: ['up', '--nodes', '33'], status: 2, says: /A number from 1 to 32/ },
    { args: ['up', '--image', 'x'], status: 2, says: /NAME=DIR/ },
    { args: ['up', '--image', 'x=/no/such/folder'], status: 2, says: /DIR is no directory/ },
    { args: ['up', '--tracing-endpoint', 'collector:4317'], status: 2, says: /http:\/\/host:port/ },
    { args: ['up', '--tracing-protocol', 'udp'], status: 2, says: /grpc, http/ },
    { args: ['up', '--tracing-ca', '/dev/null'], status: 2, says: /certificates in PEM/ },
    { args: ['up', '--tracing-sampling', '101'], status: 2, says: /A number from 0 to 100/ },
    { args: ['demo', '--nodes', '9'], status: 2, says: /A number from 2 to 8/ },
    { args: ['get'], status: 2, says: /missing required argument/ },
    { args: ['get', 'toasters'], status: 2, says: /Use one of namespaces, nodes, .*pods/ },
    { args: ['get', 'pods', '-o', 'xml'], status: 2, says: /Use table, json or yaml/ },
    { args: ['get', 'pods', '--name', '../x'], status: 2, says: /1 to 32 characters a-z, 0-9 and -/ },
    { args: ['get', 'pods', '--name', MISSING], status: 1, says: STANDS_STILL },
    { args: ['status', '--name', MISSING], status: 1, says: STANDS_STILL },
    { args: ['label', 'ns', 'shop', 'x'], status: 2, says: /neither key=value nor key-/ },
    { args: ['logs', 'a/b', '--tail', 'x'], status: 2, says: /A number from 1/ },
    { args: ['logs', 'a/b', '--name', MISSING], status: 1, says: STANDS_STILL },
    { args: ['exec', 'a/b', '--name', MISSING, '--', 'ls', '-l'], status: 1, says: STANDS_STILL },
    { args: ['exec', 'a/b', 'ls', '-l'], status: 2, says: /weft exec NS\/POD -- CMD/ },
    { args: ['delete'], status: 2, says: /KIND and OBJECT, or -f PATH/ },
    { args: ['release'], status: 2, says: /-n NS, --node NODE or --all/ },
    { args: ['release', '--all', '--name', MISSING], status: 1, says: STANDS_STILL },
    { args: ['waypoint', '--help'], status: 0, says: /apply .*generate .*list .*status .*delete /s },
    { args: ['waypoint', 'apply', '--help'], status: 0, says: /Usage: weft waypoint apply .*--enroll-namespace/s },
    { args: ['waypoint', 'frob'], status: 2, says: /unknown command/ },
    { args: ['waypoint', 'apply', '--for', 'toasters'], status: 2, says: /Use one of service, workload, all, none/ },
    { args: ['waypoint', 'apply', '--timeout', '0'], status: 2, says: /A number from 1 to 3600/ },
    { args: ['waypoint', 'delete'], status: 2, says: /names, or --all/ },
    { args: ['waypoint', 'delete', 'a', '--all'], status: 2, says: /names, or --all/ },
    { args: ['waypoint', 'list', '-o', 'xml'], status: 2, says: /Use table, json or yaml/ },
    { args: ['waypoint', 'list', '--name', MISSING], status: 1, says: STANDS_STILL },
    {
      args: ['waypoint', 'generate', 'way', '-n', 'shop', '--for', 'all'],
      status: 0,
      says: /kind: Gateway.*istio.io\/waypoint-for: all/s,
    },
    { args: ['ztunnel-config', 'toasters'], status: 2, says: /use one of workloads/ },
    { args: ['ztunnel-config', 'workloads', '--name', MISSING], status: 1, says: STANDS_STILL },
  ]
  for (const row of rows)
    it(`weft ${row.args.join(' ')} ends with ${row.status}`, async () => {
      const { status, stdout, stderr } = await listen(() => runWeft(row.args))
      assert.equal(status, row.status, stderr)
      assert.match(row.status === 0 ? stdout : stderr, row.says)
      if (row.status === 1) assert.equal(stderr.trim().split('\n').length, 1)
    })
  it('is started by ./weft, which passes on the status', () => {
    const { status, stdout, stderr } = spawnSync(join(ROOT, 'weft'), ['get', 'toasters'], { encoding: 'utf8' })
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, /^weft: .*Use one of/)
  }).timeout(10_000)
})

/** What a command prints while it runs in this process. */
async function listen(run: () => Promise<number>): Promise<{ status: number; stdout: string; stderr: string }> {
  const said: { readonly stdout: string[]; readonly stderr: string[] } = { stdout: [], stderr: [] }
  const { stdout, stderr } = process
  const before = { stdout: stdout.write, stderr: stderr.write, exitCode: process.exitCode }
  stdout.write = (text: unknown) => said.stdout.push(String(text)) > 0
  stderr.write = (text: unknown) => said.stderr.push(String(text)) > 0
  try {
    const status = await run()
    return { status, stdout: said.stdout.join(''), stderr: said.stderr.join('') }
  } finally {
    stdout.write = before.stdout
    stderr.write = before.stderr
    process.exitCode = before.exitCode
  }
}

describe('parsing', () => {
  it('reads labels', () => {
    const read = (...words: readonly string[]) => words.reduce((all, word) => collectLabel(word, all), {})
    assert.deepEqual(read('a=b', 'istio.io/dataplane-mode=ambient', 'c-', 'd='), {
      a: 'b',
      'istio.io/dataplane-mode': 'ambient',
      c: null,
      d: '',
    })
    for (const bad of ['', '-', '=x', 'a']) assert.throws(() => collectLabel(bad), { code: 'commander.invalidArgument' })
  })
  it('reads names, formats, kinds and counts, and nothing else', () => {
    assert.deepEqual([parseMeshName('a-1'), parseFormat('yaml'), parseKind('po').kind, countFrom(0, 9)('9')], ['a-1', 'yaml', 'Pod', 9])
    const refused: (() => unknown)[] = [
      () => parseMeshName('A'),
      () => parseFormat('xml'),
      () => parseKind('toasters'),
      () => countFrom(1, 9)('0'),
      () => countFrom(1, 9)('1e0'),
      () => countFrom(1, 9)('-1'),
    ]
    for (const read of refused) assert.throws(read, { code: 'commander.invalidArgument' })
  })
  it('finds faults of documents with file, line and field, before anything is applied', () => {
    const { documents, faults } = parseFile(
      'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - port: 99999\n',
      'a.yaml',
    )
    assert.equal(documents.length, 0)
    assert.match(faults.map(formatDocumentFault).join('\n'), /^a\.yaml:6: spec\.ports\[0\]\.port: /)
    assert.throws(() => listFiles('/no/such/file.yaml'), { code: 'NOT_FOUND', message: /\/no\/such\/file\.yaml does not exist/ })
    assert.deepEqual(
      listFiles(join(ROOT, 'samples/shop')).map((file) => relative(ROOT, file.path)),
      ['samples/shop/shop.yaml'],
      'folders below are not read',
    )
  })
  it('asks for root before it looks for the mesh', () => {
    const { getuid } = process
    try {
      Object.assign(process, { getuid: () => 1000 })
      assert.throws(() => connectMesh(MISSING), { code: 'NOT_ROOT' })
    } finally {
      Object.assign(process, { getuid })
    }
  })
  it('reads targets', () => {
    assert.deepEqual(parseTarget('shop/web'), { namespace: 'shop', name: 'web' })
    assert.deepEqual(parseTarget('web'), { namespace: 'default', name: 'web' })
  })
})

describe('output', () => {
  it('pads tables', () => {
    assert.equal(
      formatTable(
        ['A', 'LONG'],
        [
          ['xyz', '1'],
          ['x', '22'],
        ],
      ),
      'A    LONG\nxyz  1\nx    22',
    )
  })
  it('shortens ages', () => {
    const at = (seconds: number): string => new Date(1_000_000_000_000 - seconds * 1000).toISOString()
    assert.deepEqual(
      [5, 300, 7300, 200_000].map((seconds) => formatAge(at(seconds), 1_000_000_000_000)),
      ['5s', '5m', '2h', '2d'],
    )
  })
  it('says what the server said, with the hint', () => {
    assert.equal(sentenceOf(objectFailure('CONFLICT', { what: 'it changed' })), 'it changed; read it again and repeat the change')
    assert.equal(sentenceOf(new Error('x')), 'x')
  })
})

describe('ztunnel-config views', () => {
  const dump: ZtunnelDump = {
    workloads: [
      { namespace: 'shop', name: 'web-1', workloadIps: ['10.244.1.7'], node: 'node-1', protocol: 'HBONE' },
      { namespace: 'shop', name: 'new', pending: true, protocol: 'HBONE' },
    ],
    services: [
      { namespace: 'shop', name: 'web', vips: ['/10.96.1.1'], endpoints: { a: { status: 'Healthy' }, b: { status: 'Unhealthy' } } },
    ],
    policies: [{ namespace: 'shop', name: 'deny', action: 'Deny', scope: 'Namespace' }],
    certificates: [{ identity: 'spiffe://cluster.local/ns/shop/sa/web', state: 'Initializing', certChain: [] }],
    workloadState: {
      u: {
        info: { name: 'web-1', namespace: 'shop' },
        connections: {
          inbound: [{ src: '10.244.2.8:1', actualDst: '10.244.1.7:80', protocol: 'HBONE', identity: 'spiffe://x' }],
          outbound: [],
        },
      },
    },
  }
  const rows: { view: string; want: string[][] }[] = [
    {
      view: 'workloads',
      want: [
        ['shop', 'web-1', '10.244.1.7', 'node-1', 'None', 'HBONE'],
        ['shop', 'new', '-', '-', 'None', 'PENDING'],
      ],
    },
    { view: 'services', want: [['shop', 'web', '10.96.1.1', 'None', '1/2']] },
    { view: 'policies', want: [['shop', 'deny', 'Deny', 'Namespace']] },
    { view: 'certificates', want: [['spiffe://cluster.local/ns/shop/sa/web', 'Leaf', 'Initializing', 'false', '-', '-', '-']] },
    { view: 'connections', want: [['web-1.shop', 'Inbound', '10.244.1.7:80', '10.244.2.8:1', 'spiffe://x', 'HBONE']] },
  ]
  for (const row of rows)
    it(row.view, () => {
      assert.deepEqual(VIEWS[row.view]?.rows(dump, 0), row.want)
      assert.deepEqual(VIEWS[row.view]?.rows({}, 0), [])
    })
})
