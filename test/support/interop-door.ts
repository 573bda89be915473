// Our door for foreign clients: a real ztunnel process on a lab's node with one enrolled pod that runs the apps, one pod
// outside for the client, a policy that denies one identity.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AppPorts } from './interop-apps.ts'
import { lab, type Lab, type LabPod } from './netns-lab.ts'
import { TestCa } from './test-ca.ts'
import { PodProgram, ZtunnelNode } from './ztunnel-node.ts'

/** Ports of the apps in the pod. */
export const APPS: AppPorts = { echo: 8080, digest: 8081, greet: 8082 }

const SERVER_ID = 'spiffe://cluster.local/ns/shop/sa/server'
/** Who may call, who may not, and who is called. */
export const IDS = {
  client: 'spiffe://cluster.local/ns/shop/sa/client',
  denied: 'spiffe://cluster.local/ns/shop/sa/denied',
  server: SERVER_ID,
}

const POLICY = `policies:
- { name: no-denied, namespace: shop, scope: Namespace, action: Deny, rules: [[[{ principals: [{ Exact: cluster.local/ns/shop/sa/denied }] }]]] }
`

/** The door and what is around it. */
export class InteropDoor implements AsyncDisposable {
  readonly ca: TestCa
  readonly ztunnel: ZtunnelNode
  readonly server: LabPod
  /** Where the foreign client runs. */
  readonly outside: LabPod
  readonly #lab: Lab
  readonly #app: PodProgram

  private constructor(node: Lab, ca: TestCa, pods: readonly [LabPod, LabPod], app: PodProgram, ztunnel: ZtunnelNode) {
    this.#lab = node
    this.ca = ca
    this.#app = app
    this.ztunnel = ztunnel
    ;[this.server, this.outside] = pods
  }

  static async start(name: string): Promise<InteropDoor> {
    const node = lab(name)
    const ca = await TestCa.start()
    const [server, outside] = [node.pod('server'), node.pod('outside')]
    const apps = new URL('./interop-apps.ts', import.meta.url).href
    const app = new PodProgram(
      node,
      server,
      `const { serveApps } = await import(${JSON.stringify(apps)}); await serveApps(${JSON.stringify(APPS)}); console.log('listening')`,
    )
    await app.says('listening')
    const pod = (of: LabPod, protocol: string): string =>
      `- { uid: "Kubernetes//Pod/shop/${of.name}", name: ${of.name}, namespace: shop, serviceAccount: ${of.name}, workloadIps: ["${of.ip4}", "${of.ip6}"], protocol: ${protocol} }`
    const yaml = `workloads:\n${pod(server, 'HBONE')}\n${pod(outside, 'TCP')}\n${POLICY}networks: ["10.77.0.0/24"]\n`
    const ztunnel = await ZtunnelNode.start(node, ca, yaml)
    await ztunnel.enrol(server)
    return new InteropDoor(node, ca, [server, outside], app, ztunnel)
  }

  /** Where the pod's HBONE is. */
  get address(): string {
    return `${this.server.ip4}:15008`
  }

  authority(app: keyof AppPorts): string {
    return `${this.server.ip4}:${APPS[app]}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app.stop()
    await this.ztunnel[Symbol.asyncDispose]()
    await this.#lab[Symbol.asyncDispose]()
    await this.ca[Symbol.asyncDispose]()
  }
}

/** cert.pem, key.pem and roots.pem of an identity in a directory of their own. */
export async function certificateFiles(ca: TestCa, id: string): Promise<{ readonly directory: string; [Symbol.dispose](): void }> {
  const directory = mkdtempSync('/tmp/weft-interop-')
  const { cert, key, ca: roots } = await ca.workload(id)
  writeFileSync(join(directory, 'cert.pem'), cert)
  writeFileSync(join(directory, 'key.pem'), key, { mode: 0o600 })
  writeFileSync(join(directory, 'roots.pem'), roots)
  return { directory, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) }
}
