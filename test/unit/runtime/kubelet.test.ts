// Pure parts of the kubelet: capabilities, the start script, environment, volumes, addresses, status.
import assert from 'node:assert/strict'
import type { Container } from '../../../model/container.ts'
import type { MeshObject, Pod } from '../../../model/object.ts'
import { AddressPool } from '../../../runtime/kubelet/addresses.ts'
import { capabilitiesOf, DEFAULT_CAPABILITIES, setprivArgs } from '../../../runtime/kubelet/capabilities.ts'
import { contentOf, environmentOf, expand } from '../../../runtime/kubelet/content.ts'
import { hostMounts, launchCommand, launchScript, type LaunchSpec, quote } from '../../../runtime/kubelet/launch.ts'
import { resolvConf, volumeBinds } from '../../../runtime/kubelet/volumes.ts'

describe('capabilities', () => {
  const rows: { name: string; add?: string[]; drop?: string[]; want: string[] | 'refused' }[] = [
    { name: 'default', want: [...DEFAULT_CAPABILITIES].sort() },
    { name: 'drop all, add one', drop: ['ALL'], add: ['NET_BIND_SERVICE'], want: ['net_bind_service'] },
    { name: 'with prefix', drop: ['ALL'], add: ['CAP_NET_ADMIN'], want: ['net_admin'] },
    { name: 'drop one', drop: ['NET_RAW'], want: [...DEFAULT_CAPABILITIES].filter((one) => one !== 'net_raw').sort() },
    ...['SYS_ADMIN', 'SYS_PTRACE', 'BPF', 'PERFMON', 'SYS_MODULE', 'SYS_RAWIO', 'DAC_READ_SEARCH', 'sys_admin', 'CAP_BPF', 'NONSENSE'].map(
      (one) => ({ name: `add ${one}`, add: [one], want: 'refused' as const }),
    ),
  ]
  for (const row of rows)
    it(row.name, () => {
      const context = {
        capabilities: { ...(row.add === undefined ? {} : { add: row.add }), ...(row.drop === undefined ? {} : { drop: row.drop }) },
      }
      if (row.want === 'refused') assert.throws(() => capabilitiesOf(context), { code: 'CAPABILITY_REFUSED' })
      else assert.deepEqual(capabilitiesOf(context), row.want)
    })
  it('adds everything that may be added for ALL, and nothing more', () => {
    const all = capabilitiesOf({ capabilities: { add: ['ALL'] } })
    for (const never of ['sys_admin', 'sys_ptrace', 'bpf', 'perfmon', 'sys_module']) assert.ok(!all.includes(never))
  })
  it('sets user and group of the container before those of the pod', () => {
    assert.ok(setprivArgs({ runAsUser: 5 }, { runAsUser: 7, runAsGroup: 8 }).join(' ').includes('--reuid=5 --regid=8'))
    assert.ok(!setprivArgs(undefined, undefined).join(' ').includes('--reuid'))
  })
})

describe('start script', () => {
  const spec: LaunchSpec = {
    cgroup: '/cg',
    netnsPath: '/run/netns/x',
    scratchDir: '/s',
    hostname: 'h',
    hostMounts: ['/data'],
    binds: [{ from: '/v', to: "/etc/it's", isReadOnly: true }],
    workingDir: '/app',
    setpriv: ['--bounding-set=-all'],
    env: { LD_PRELOAD: '/evil.so', A: "x'; rm -rf /; '" },
    command: ['node', 'a b.js'],
  }
  it('sets the environment of the container only after capabilities are dropped', () => {
    const lines = launchScript(spec).split('\n')
    const last = lines.at(-1) ?? ''
    assert.match(last, /^exec setpriv '--bounding-set=-all' '--' 'env' '-i' 'LD_PRELOAD=\/evil\.so'/)
    assert.equal(lines.filter((line) => line.includes('LD_PRELOAD')).length, 1)
    assert.ok(last.endsWith("'node' 'a b.js'"))
  })
  it('quotes every word', () => {
    assert.equal(quote("x'; rm -rf /; '"), `'x'\\''; rm -rf /; '\\'''`)
    assert.ok(launchScript(spec).includes(`'A=x'\\''; rm -rf /; '\\'''`))
    assert.ok(launchScript(spec).includes(`readlink -m '/etc/it'\\''s'`))
  })
  it('hides /run and makes /proc/sys read-only before the command runs', () => {
    const script = launchScript(spec)
    for (const part of [
      'tmpfs run',
      'mount -n -t proc',
      'remount,bind,ro proc/$p',
      'pivot_root',
      'umount -n -l /run/.old',
      'mount -n -o remount,ro /',
    ])
      assert.ok(script.includes(part), part)
  })
  it('joins the cgroup first', () => {
    const [program, args] = launchCommand(spec)
    assert.equal(program, '/bin/sh')
    assert.deepEqual(args.slice(0, 4), ['-c', 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"', 'sh', '/cg'])
  })
  it('shows real file systems of the host only', () => {
    const text = [
      '22 27 0:21 / /proc rw - proc proc rw',
      '27 1 254:0 / / rw - ext4 /dev/vda rw',
      '28 27 8:1 / /home rw - xfs /dev/sda rw',
      '29 27 8:2 / /data\\040set rw - ext4 /dev/sdb rw',
      '31 27 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
      '32 27 0:39 / /opt/bpf rw - bpf bpf rw',
      '42 27 254:0 /run/netns /run/netns rw - ext4 /dev/vda rw',
      '43 27 8:4 / /tmp/x rw - ext4 /dev/vdb rw',
      '44 27 8:5 / /etc/resolv.conf rw - ext4 /dev/vdb rw',
      '45 27 0:40 / /srv rw - tmpfs tmpfs rw',
    ].join('\n')
    assert.deepEqual(hostMounts(text), ['/data set', '/home'])
  })
})

describe('environment and volumes', () => {
  const objects: Record<string, MeshObject> = {
    'configmaps/c': { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c' }, data: { a: '1', b: '2' } },
    'secrets/s': { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, data: { k: Buffer.from('word').toString('base64') } },
  }
  const find = (kind: string, name: string): MeshObject | undefined => objects[`${kind}/${name}`]
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'n', uid: 'u', labels: { app: 'x' } },
    spec: { nodeName: 'node-1', containers: [] },
  }
  const facts = { pod, podIp: '10.0.0.1', podIps: ['10.0.0.1', 'fd00::1'], hostIp: '10.0.0.9' }
  const env = (container: Partial<Container>) => environmentOf({ name: 'c', ...container }, facts, find)

  it('takes values from everywhere', () => {
    const result = env({
      envFrom: [{ prefix: 'P_', configMapRef: { name: 'c' } }],
      env: [
        { name: 'X', value: 'x$(P_a)$$(P_a)$(NOPE)' },
        { name: 'S', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
        { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        { name: 'APP', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
        { name: 'NONE', valueFrom: { configMapKeyRef: { name: 'c', key: 'zzz', optional: true } } },
      ],
    })
    assert.deepEqual(result, { P_a: '1', P_b: '2', X: 'x1$(P_a)$(NOPE)', S: 'word', IP: '10.0.0.1', APP: 'x' })
  })
  it('names what is missing', () => {
    assert.throws(() => env({ env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'zzz', key: 'k' } } }] }), {
      code: 'CONFIG_MISSING',
    })
    assert.throws(() => env({ envFrom: [{ secretRef: { name: 'zzz' } }] }), { code: 'CONFIG_MISSING' })
    assert.throws(() => env({ env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'spec.zzz' } } }] }), { code: 'BAD_CONTAINER' })
  })
  it('expands $$ and unknown names as Kubernetes does', () => {
    assert.equal(expand('$(A) $$(A) $(B) $', { A: '1' }), '1 $(A) $(B) $')
  })
  it('makes files of ConfigMaps, Secrets and projected tokens', () => {
    const content = contentOf(
      {
        name: 'v',
        projected: {
          sources: [
            { configMap: { name: 'c', items: [{ key: 'a', path: 'dir/a' }] } },
            { secret: { name: 's' } },
            { serviceAccountToken: { path: 'token', audience: 'x' } },
          ],
        },
      },
      find,
    )
    assert.deepEqual(
      [...content.files].map(([path, file]) => [path, file.bytes.toString()]),
      [
        ['dir/a', '1'],
        ['k', 'word'],
      ],
    )
    assert.deepEqual(content.tokens, [{ path: 'token', audience: 'x', expirationSeconds: 3607 }])
  })
  it('keeps subPath inside the volume', () => {
    const withVolume = { ...pod, spec: { containers: [], volumes: [{ name: 'v', emptyDir: {} }] } }
    const container = { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/x', subPath: '../../../etc' }] }
    assert.equal(volumeBinds(withVolume, container, '/d').at(-1)?.from, '/d/volumes/v/etc')
  })
  it('writes search domains as Kubernetes does', () => {
    assert.equal(resolvConf('n'), 'search n.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n')
  })
})

describe('addresses', () => {
  it('rest before they are used again, and run out with a clear word', () => {
    const pool = new AddressPool(2)
    const first = pool.take()
    assert.deepEqual(first, { v4: '10.244.2.10', v6: 'fd00:10:244:2::a' })
    pool.release(first)
    assert.equal(pool.take().v4, '10.244.2.11')
    for (let i = 0; i < 240; i++) pool.take()
    assert.throws(() => pool.take(), { code: 'NO_ADDRESS_LEFT' })
  })
})
