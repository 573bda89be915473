// linux/ on the real kernel: namespaces made here, removed here.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { codeOf, MeshError } from '../../kit/error.ts'
import { cgroup2Root, cgroupId, cgroupOfPid, killCgroup, makeCgroup, removeCgroup } from '../../linux/cgroup.ts'
import { raiseFileLimit } from '../../linux/limits.ts'
import { inNetns, netnsCookie, netnsOfFd, openNetns } from '../../linux/netns.ts'
import { localAddress, originalDst, peerAddress, setKeepalive, setUserTimeout, tcpConnect, tcpListen, udpBind } from '../../linux/socket.ts'
import { keepSourceRouting } from '../../linux/source-routing.ts'
import type { IpAddress } from '../../model/address.ts'

const ip = (text: string): IpAddress => text as IpAddress
const NAME = `wlx${process.pid}`
const PATH = `/run/netns/${NAME}`
const ipCommand = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' })

describe('linux', () => {
  before(() => {
    ipCommand('netns', 'add', NAME)
    ipCommand('-n', NAME, 'link', 'set', 'lo', 'up')
  })
  after(() => {
    ipCommand('netns', 'del', NAME)
  })

  it('enters a namespace and comes back, also when the work throws', () => {
    using pod = openNetns(PATH)
    const here = readFileSync('/proc/thread-self/net/dev', 'utf8')
    const there = inNetns(pod.fd, () => readFileSync('/proc/thread-self/net/dev', 'utf8'))
    assert.notEqual(there.split('\n').length, here.split('\n').length)
    assert.throws(() =>
      inNetns(pod.fd, () => {
        throw new Error('x')
      }),
    )
    assert.equal(readFileSync('/proc/thread-self/net/dev', 'utf8').split('\n').length, here.split('\n').length)
    assert.throws(() => inNetns(pod.fd, () => Promise.resolve()), TypeError)
  })

  it('refuses what is not a network namespace and closes it', () => {
    const fd = openSync('/proc/self/ns/mnt', 'r')
    assert.throws(
      () => netnsOfFd(fd),
      (error) => codeOf(error) === 'NOT_A_NETNS',
    )
    assert.throws(
      () => closeSync(fd),
      (error) => codeOf(error) === 'EBADF',
    )
  })

  it('names a namespace by inode and cookie', () => {
    using a = openNetns(PATH)
    using b = openNetns(PATH)
    using host = openNetns('/proc/self/ns/net')
    assert.equal(a.inode, b.inode)
    assert.equal(netnsCookie(a.fd), netnsCookie(b.fd))
    assert.notEqual(netnsCookie(a.fd), netnsCookie(host.fd))
    assert.notEqual(netnsCookie(a.fd), 0n)
  })

  for (const address of ['127.0.0.1', '::1']) {
    it(`listens and connects inside a namespace (${address})`, async () => {
      using pod = openNetns(PATH)
      const listener = tcpListen({ netnsFd: pod.fd, ip: ip(address), port: 0, reusePort: true })
      const { port } = localAddress(listener)
      const server = net.createServer((socket) => socket.end('hello')).listen({ fd: listener })
      let prepared = -1
      const fd = tcpConnect({ netnsFd: pod.fd, to: { ip: ip(address), port }, mark: 7, prepare: (s) => (prepared = s) })
      assert.equal(prepared, fd)
      setKeepalive(fd, { idleS: 30, intervalS: 5, count: 3 })
      setUserTimeout(fd, 10_000)
      const socket = new net.Socket({ fd })
      const text = (await socket.setEncoding('utf8').toArray()).join('')
      assert.equal(text, 'hello')
      assert.equal(originalDst(listener, address === '::1' ? 6 : 4), undefined)
      server.close()
    })
  }

  it('serves both families on a dual-stack listener, and names IPv4 peers as IPv4', async () => {
    using pod = openNetns(PATH)
    const listener = tcpListen({ netnsFd: pod.fd, ip: ip('::'), port: 0, v6Only: false })
    const { port } = localAddress(listener)
    const fd = tcpConnect({ netnsFd: pod.fd, to: { ip: ip('127.0.0.1'), port }, from: { ip: ip('127.0.0.9'), port: 0 } })
    assert.deepEqual(peerAddress(fd), { ip: '127.0.0.1', port })
    assert.equal(localAddress(fd).ip, '127.0.0.9')
    closeSync(fd)
    closeSync(listener)
  })

  it('binds datagram sockets', () => {
    using pod = openNetns(PATH)
    const fd = udpBind({ netnsFd: pod.fd, ip: ip('127.0.0.1'), port: 5300, reusePort: true })
    assert.deepEqual(localAddress(fd), { ip: '127.0.0.1', port: 5300 })
    assert.throws(
      () => udpBind({ netnsFd: pod.fd, ip: ip('127.0.0.1'), port: 5300 }),
      (error) => error instanceof MeshError && error.detail.name === 'EADDRINUSE',
    )
    closeSync(fd)
  })

  it('makes the routes for kept sources, twice', () => {
    using pod = openNetns(PATH)
    keepSourceRouting(pod.fd)
    keepSourceRouting(pod.fd)
    for (const family of ['-4', '-6']) {
      const rules = ipCommand('-n', NAME, family, 'rule')
        .split('\n')
        .filter((line) => line.includes('lookup 100'))
      assert.equal(rules.length, 1)
      assert.match(rules[0] ?? '', /^32764:\s+from all fwmark 0x111\/0xfff lookup 100/)
      assert.match(ipCommand('-n', NAME, family, 'route', 'show', 'table', '100'), /^local default dev lo/)
    }
    assert.equal(inNetns(pod.fd, () => readFileSync('/proc/sys/net/ipv4/tcp_fwmark_accept', 'utf8')).trim(), '1')
  })

  it('makes, names, empties and removes cgroups', async () => {
    const root = cgroup2Root()
    const group = join(root, NAME, 'pods', 'a')
    makeCgroup(group)
    assert.ok(cgroupId(group) > 0n)
    const pid = Number(
      execFileSync('sh', ['-c', `echo $$ > ${group}/cgroup.procs; sleep 60 > /dev/null 2>&1 & echo $!`], { encoding: 'utf8' }),
    )
    assert.equal(cgroupOfPid(pid), group)
    await killCgroup(join(root, NAME))
    removeCgroup(join(root, NAME))
    removeCgroup(join(root, NAME))
    await killCgroup(join(root, NAME))
  })

  it('raises the limit of open files', () => {
    assert.ok(raiseFileLimit() >= 1024)
  })
})
