// Two Envoys as a mesh would run them, one in each pod of a pair: the client's carries TCP through CONNECT over mutual TLS to the
// server's, which passes it to the app. Envoy's own defaults for windows, one worker each, 1 MiB of buffer.
import { openNetns } from '../linux/netns.ts'
import { certificateFiles, IDS } from '../test/support/interop-door.ts'
import { Envoy } from '../test/support/interop-envoy.ts'
import { envoyClient, envoyServer } from '../test/support/interop-envoy-config.ts'
import type { TestPod } from '../test/support/mesh.ts'
import { TestCa } from '../test/support/test-ca.ts'

const HBONE_PORT = 15_008
/** Large enough that the windows do not bound one stream on a LAN (the same stream window as ours). */
const WINDOWS = { initial_stream_window_size: 1_048_576, initial_connection_window_size: 16_777_216 }

/** A running pair; ends both Envoys. */
export interface EnvoyPair extends AsyncDisposable {
  /** Process ids of client and server. */
  readonly pids: readonly number[]
  /** Port on 127.0.0.1 of the client's pod that leads to a port of the server's app. */
  readonly ports: ReadonlyMap<number, number>
}

/**
 * Starts a pair in two pods.
 * @param ports of the server's app
 * @throws when Envoy (ENVOY) does not start
 */
export async function startEnvoyPair(client: TestPod, server: TestPod, ports: readonly number[]): Promise<EnvoyPair> {
  const stack = new AsyncDisposableStack()
  try {
    const ca = stack.use(await TestCa.start())
    const clientFiles = stack.use(await certificateFiles(ca, IDS.client))
    const serverFiles = stack.use(await certificateFiles(ca, IDS.server))
    const names = Object.fromEntries(ports.map((port) => [`app-${port}`, port]))
    const at = { ip: server.ip, port: HBONE_PORT }
    const place = (pod: TestPod): { path: string; netnsFd: number } => ({
      path: pod.netnsPath,
      netnsFd: stack.use(openNetns(pod.netnsPath)).fd,
    })
    const serverTls = { directory: serverFiles.directory, peer: IDS.client }
    const clientTls = { directory: clientFiles.directory, peer: IDS.server }
    const there = stack.use(await Envoy.start(envoyServer(serverTls, names, { listen: at, http2: WINDOWS }), place(server)))
    const tunnels = Object.fromEntries(ports.map((port) => [`app-${port}`, { authority: `127.0.0.1:${port}`, cluster: 'hbone' }]))
    const here = stack.use(await Envoy.start(envoyClient(at, { hbone: clientTls }, tunnels, '/dev/null', WINDOWS), place(client)))
    const local = new Map<number, number>()
    for (const port of ports) local.set(port, await here.port(`app-${port}`))
    return { pids: [here.pid, there.pid], ports: local, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}
