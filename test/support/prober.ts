// A container's command for tests of policy: listens on 8080 and 9090 (says hello and stays), and dials on request. Asked over
// HTTP on the pod's loopback by the test itself, which no policy sees.
//   /try?ip=&port=        ok | refused | silent     one connection: does the other side say hello?
//   /hold?ip=&port=       ok | refused | silent     the same, and keeps it
//   /held                 [{ ip, port, endedMs }]   what was kept; endedMs (wall clock) once it ended
import http from 'node:http'
import net from 'node:net'
import { dialTcp } from './mesh-view.ts'
import type { TestPod } from './mesh.ts'

/** The container's command. */
export const PROBER: readonly string[] = [process.execPath, import.meta.filename]

/** Its readiness. */
export const PROBER_READY = { readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } } as const

/** A connection that was kept. */
export interface Held {
  readonly ip: string
  readonly port: number
  readonly endedMs?: number
}

const ASK_PORT = 7000
const PATIENCE_MS = 4000

/** Has a pod try one connection. */
export function tryFrom(pod: TestPod, ip: string, port: number): Promise<string> {
  return askPod(pod, `/try?ip=${encodeURIComponent(ip)}&port=${port}`)
}

/** Has a pod open a connection and keep it. */
export function holdFrom(pod: TestPod, ip: string, port: number): Promise<string> {
  return askPod(pod, `/hold?ip=${encodeURIComponent(ip)}&port=${port}`)
}

/** What a pod keeps. */
export async function heldBy(pod: TestPod): Promise<readonly Held[]> {
  return JSON.parse(await askPod(pod, '/held')) as Held[]
}

async function askPod(pod: TestPod, path: string): Promise<string> {
  const socket = dialTcp({ from: pod.netnsPath, ip: '127.0.0.1', port: ASK_PORT })
  socket.write(`GET ${path} HTTP/1.0\r\n\r\n`)
  const answer = (await socket.setEncoding('utf8').toArray()).join('')
  return answer.slice(answer.indexOf('\r\n\r\n') + 4)
}

const held: { ip: string; port: number; endedMs?: number }[] = []

function dial(ip: string, port: number, keeps: boolean): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: ip, port })
    const timer = setTimeout(() => end('silent'), PATIENCE_MS)
    const end = (said: string): void => {
      clearTimeout(timer)
      resolve(said)
      if (!keeps || said !== 'ok') socket.destroy()
    }
    socket.once('data', () => {
      if (keeps) {
        const kept: (typeof held)[number] = { ip, port }
        held.push(kept)
        socket.once('close', () => {
          kept.endedMs = Date.now()
        })
      }
      end('ok')
    })
    socket.on('error', () => end('refused'))
    socket.on('close', () => end('refused'))
  })
}

if (import.meta.main) {
  for (const port of [8080, 9090]) {
    net.createServer((socket) => void socket.on('error', () => socket.destroy()).write('hello\n')).listen(port, '::')
  }
  http
    .createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://x')
      const [ip, port] = [url.searchParams.get('ip') ?? '', Number(url.searchParams.get('port'))]
      if (url.pathname === '/held') response.end(JSON.stringify(held))
      else void dial(ip, port, url.pathname === '/hold').then((said) => response.end(said))
    })
    .listen(ASK_PORT, '127.0.0.1')
  process.on('SIGTERM', () => process.exit(0))
}
