// How fast the HBONE codec carries bytes: app — client proxy — TLS over loopback — server proxy — app, one process each
// for apps, client and server. Run: node bench/hbone.ts [seconds].
// CPU profiles of both proxies:
// node bench/hbone.ts 2 --prof-dir DIR
import { type ChildProcess, fork } from 'node:child_process'
import net from 'node:net'
import tls from 'node:tls'
import { connectHbone, type HboneClientConnection } from '../hbone/client.ts'
import { adoptAccepted, adoptFd } from '../hbone/plain-socket.ts'
import { serveHbone } from '../hbone/server.ts'
import { spliceTunnel } from '../hbone/splice.ts'
import { tcpConnect } from '../linux/socket.ts'
import type { IpAddress } from '../model/address.ts'
import { testCertificate } from '../test/support/tls-pair.ts'

const LOOPBACK = '127.0.0.1' as IpAddress
const [role, ...args] = process.argv.slice(2)

if (role === 'client') await runClient(Number(args[0]))
else if (role === 'server') await runServer(Number(args[0]))
else await runApps(Number(role ?? '2'), args[0] === '--prof-dir' ? args[1] : undefined)

function listen(server: net.Server): Promise<number> {
  return new Promise((resolve) => server.listen(0, LOOPBACK, () => resolve((server.address() as net.AddressInfo).port)))
}

async function runServer(appPort: number): Promise<void> {
  const server = tls.createServer(
    { ...(await testCertificate()), ALPNProtocols: ['h2'], noDelay: true, highWaterMark: 1024 * 1024 },
    (socket) => {
      serveHbone(socket, {
        onConnect(_request, stream) {
          const upstream = adoptFd(tcpConnect({ to: { ip: LOOPBACK, port: appPort } }), { connecting: true })
          upstream.connected.then(
            () => void spliceTunnel(stream.accept(), upstream, { fromTunnel: 0, toTunnel: 0 }),
            () => stream.refuse(503),
          )
        },
      })
    },
  )
  process.send?.(await listen(server))
  reportCpu()
}

async function runClient(serverPort: number): Promise<void> {
  const socket = tls.connect({
    port: serverPort,
    host: LOOPBACK,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
    noDelay: true,
  } as tls.ConnectionOptions)
  await new Promise((resolve) => socket.once('secureConnect', resolve))
  const client: HboneClientConnection = connectHbone(socket)
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (accepted) => {
    const plain = adoptAccepted(accepted)
    client.open({ authority: '10.0.0.2:80', baggage: 'k8s.namespace.name=bench,k8s.pod.name=client' }).then(
      (tunnel) => void spliceTunnel(tunnel, plain, { fromTunnel: 0, toTunnel: 0 }),
      () => plain.reset(),
    )
  })
  process.send?.(await listen(server))
  reportCpu()
}

function reportCpu(): void {
  process.on('message', (message) => {
    if (message === 'exit') process.exit()
    const { user, system } = process.cpuUsage()
    process.send?.({ cpuS: (user + system) / 1e6, rssMib: process.memoryUsage.rss() / 1048576 })
  })
}

interface Usage {
  readonly cpuS: number
  readonly rssMib: number
}

function start(
  name: string,
  port: number,
  profDir: string | undefined,
): Promise<{ child: ChildProcess; port: number; usage(): Promise<Usage> }> {
  const execArgv = profDir === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profDir, '--cpu-prof-name', `${name}.cpuprofile`]
  const child = fork(import.meta.filename, [name, String(port)], { execArgv })
  const usage = (): Promise<Usage> =>
    new Promise((resolve) => {
      child.once('message', (message) => resolve(message as Usage))
      child.send('usage')
    })
  return new Promise((resolve) => child.once('message', (made) => resolve({ child, port: Number(made), usage })))
}

/** The app that is reached through both proxies: counts what it receives, answers a ping (first byte 1) with itself. */
function sink(count: (bytes: number) => void): net.Server {
  const buffer = Buffer.alloc(256 * 1024)
  return net.createServer({ noDelay: true, pauseOnConnect: true }, (accepted) => {
    const handle = (accepted as unknown as { _handle: object })._handle
    const socket = new net.Socket({
      handle,
      allowHalfOpen: true,
      onread: {
        buffer,
        callback(length: number, bytes: Uint8Array) {
          count(length)
          if (bytes[0] === 1) socket.write(Buffer.from(bytes.subarray(0, length)))
          return true
        },
      },
    } as net.SocketConstructorOpts)
    socket.on('error', () => undefined)
    socket.on('end', () => socket.end())
    socket.resume()
  })
}

async function runApps(seconds: number, profDir: string | undefined): Promise<void> {
  let received = 0
  const app = sink((bytes) => {
    received += bytes
  })
  const server = await start('server', await listen(app), profDir)
  const client = await start('client', server.port, profDir)
  const usage = async (): Promise<Usage> => {
    const [a, b] = [await client.usage(), await server.usage()]
    return { cpuS: a.cpuS + b.cpuS, rssMib: a.rssMib + b.rssMib }
  }
  const dial = (): Promise<net.Socket> =>
    new Promise((resolve) => {
      const socket = net.connect(
        { port: client.port, host: LOOPBACK, noDelay: true, highWaterMark: 1024 * 1024 } as net.NetConnectOpts,
        () => resolve(socket),
      )
    })
  for (const streams of [1, 8]) {
    const sockets = await Promise.all(Array.from({ length: streams }, dial))
    await throughput(sockets, seconds, { usage, received: () => received })
  }
  await pingPong(await dial(), seconds)
  await newStreams(dial, seconds)
  client.child.send('exit')
  server.child.send('exit')
  app.close()
  await sleep(300)
  process.exit()
}

async function throughput(
  sockets: readonly net.Socket[],
  seconds: number,
  read: { usage(): Promise<Usage>; received(): number },
): Promise<void> {
  const piece = Buffer.alloc(256 * 1024)
  let isOn = true
  for (const socket of sockets) {
    const pump = (): void => {
      while (isOn && socket.write(piece));
    }
    socket.on('drain', pump)
    pump()
  }
  await sleep(300)
  const [before, at, from] = [await read.usage(), performance.now(), read.received()]
  await sleep(seconds * 1000)
  const [after, bytes, ms] = [await read.usage(), read.received() - from, performance.now() - at]
  isOn = false
  for (const socket of sockets) socket.destroy()
  const cpu = (after.cpuS - before.cpuS) / (bytes / 1e9)
  console.log(
    `${sockets.length} streams: ${((bytes * 8) / ms / 1e6).toFixed(2)} Gbit/s, ${cpu.toFixed(2)} CPU s/GB (both proxies), RSS ${after.rssMib.toFixed(0)} MiB`,
  )
  await sleep(300)
}

async function pingPong(socket: net.Socket, seconds: number): Promise<void> {
  const message = Buffer.alloc(1024, 1)
  const times: number[] = []
  const until = performance.now() + seconds * 1000
  let missing = 0
  let wake: () => void = () => undefined
  socket.on('data', (chunk) => {
    missing -= chunk.length
    if (missing === 0) wake()
  })
  while (performance.now() < until) {
    const at = performance.now()
    missing = message.length
    await new Promise<void>((resolve) => {
      wake = resolve
      socket.write(message)
    })
    times.push((performance.now() - at) * 1000)
  }
  times.sort((a, b) => a - b)
  const at = (share: number): string => (times[Math.floor(times.length * share)] ?? 0).toFixed(0)
  console.log(`ping-pong 1 KiB: p50 ${at(0.5)} µs, p99 ${at(0.99)} µs, p99.9 ${at(0.999)} µs (${times.length} rounds)`)
  socket.destroy()
}

async function newStreams(dial: () => Promise<net.Socket>, seconds: number): Promise<void> {
  let count = 0
  const until = performance.now() + seconds * 1000
  const worker = async (): Promise<void> => {
    while (performance.now() < until) {
      const socket = await dial()
      await new Promise<void>((resolve) => {
        socket.once('data', () => resolve())
        socket.write(Buffer.alloc(16, 1))
      })
      count++
      socket.end()
      await new Promise((resolve) => socket.once('close', resolve))
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  console.log(`new connections over one HBONE connection: ${(count / seconds).toFixed(0)}/s`)
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
