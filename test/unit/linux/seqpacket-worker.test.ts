// The thread behind SEQPACKET sockets: one failed call does not end it, and when it ends nevertheless the process does too.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, it } from 'mocha'

const FILE = join(import.meta.dirname, '../../../linux/seqpacket.ts')

/** Runs in a process of its own: the worker's wake socket is no socket for `forMs`; then a packet is sent to a socket that it watches. */
const SCRIPT = `
import { openSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { library } from '${join(FILE, '../ffi.ts')}'
import { SeqpacketThread } from '${FILE}'
const forMs = Number(process.argv[1]), path = '/tmp/weft-seqpacket-' + process.pid
const c = library('libc.so.6')
const dup = c.func('int dup(int fd)'), dup2 = c.func('int dup2(int from, int to)')
const sockets = () => readdirSync('/proc/self/fd').filter((fd) => { try { return readlinkSync('/proc/self/fd/' + fd).startsWith('socket:') } catch { return false } }).map(Number)
const before = sockets()
const thread = new SeqpacketThread()
const wake = sockets().filter((fd) => !before.includes(fd)).sort((a, b) => a - b)[1]
thread.listen(path, { onConnection: (socket) => socket.read({ onPacket: () => { console.log('received'); process.exit(0) }, onEnd: () => {} }), onError: () => {} })
await new Promise((done) => setTimeout(done, 200))
process.once('exit', () => rmSync(path, { force: true }))
const kept = dup(wake)
dup2(openSync('/dev/null'), wake) // readable for poll(), and no socket
setTimeout(() => { dup2(kept, wake); thread.connect(path).send(Uint8Array.of(1)) }, forMs)
`

async function run(forMs: number): Promise<{ code: number | null; out: string }> {
  const child = spawn(process.execPath, ['-e', SCRIPT, `${forMs}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), 6000)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  return { code, out }
}

describe('linux/seqpacket-worker', () => {
  it('goes on after calls that failed', async () => {
    assert.deepEqual(await run(30), { code: 0, out: 'received\n' })
  })

  it('takes the process with it when nothing works any more', async () => {
    const { code, out } = await run(60_000)
    assert.equal(out, '')
    assert.equal(code, 1, 'it has neither gone on deaf nor been killed by this test')
  })
})
