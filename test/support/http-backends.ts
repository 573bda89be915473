// Servers that read HTTP in three different ways: nginx decodes, merges slashes and resolves dots; haproxy keeps what came and
// normalises on request; node:http keeps what came, and applications resolve it as browsers do, or as servlet containers, which drop
// parameters. Each tells what it has read.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'

/** A request as a backend has read it; texts are one character per byte. */
export interface ReadRequest {
  /** Value of x-request-id. */
  readonly id: string
  readonly method: string
  readonly host: string
  /** Path with the query, as it arrived. */
  readonly url: string
  /** The path that the backend would serve, decoded; undefined = it would refuse it. */
  readonly normal: string | undefined
  readonly bodyBytes: number
  /** False: refused or broken off, nothing was served. */
  readonly isServed: boolean
}

/** A running backend. */
export interface Backend extends AsyncDisposable {
  readonly name: string
  readonly port: number
  /** Whether it takes `/a;b` for `/a`. */
  readonly dropsParameters?: boolean
  /** All that it has read, when at least `served` of it were served, in the order of its log. */
  read(served: number): Promise<readonly ReadRequest[]>
}

const WAIT_MS = 10_000
const POLL_MS = 20

/** node:http, the strict parser. */
export function startNode(): Promise<Backend> {
  return serveNode('node:http', browserPath)
}

/** The same under an application that drops parameters, as servlet containers do. */
export async function startServlet(): Promise<Backend> {
  const server = await serveNode('servlets', (url) => browserPath(url.replaceAll(/(?:;|%3b)[^/?]*(?=[/?]|$)/gi, '')))
  return { ...server, dropsParameters: true }
}

async function serveNode(name: string, normal: (url: string) => string | undefined): Promise<Backend> {
  const list: ReadRequest[] = []
  const server = createServer((request, response) => {
    let bodyBytes = 0
    const { method = '', url = '', headers } = request
    const seen = (isServed: boolean): void => {
      list.push({
        id: String(headers['x-request-id']),
        method,
        host: headers.host ?? '',
        url,
        normal: normal(url),
        bodyBytes,
        isServed,
      })
    }
    request.on('data', (chunk: Buffer) => {
      bodyBytes += chunk.length
    })
    request.on('error', () => seen(false))
    request.on('end', () => {
      seen(true)
      response.end('ok')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    name,
    port: (server.address() as AddressInfo).port,
    read: (served) => whenServed(served, () => list),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** nginx: an outer server that reads and logs, in front of an inner one, so that it takes the body too. */
export async function startNginx(): Promise<Backend> {
  const directory = mkdtempSync('/tmp/weft-nginx-')
  const [port, inner] = [await freePort(), await freePort()]
  const log = join(directory, 'seen')
  const fields = ['http_x_request_id', 'request_method', 'http_host', 'request_uri', 'uri', 'request_body', 'status']
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/${name};`)
  const config = `daemon off; master_process off; pid ${directory}/pid; error_log ${directory}/errors crit;
    events { worker_connections 512; }
    http {
      ${temp.join(' ')}
      log_format seen escape=json '[${fields.map((field) => `"$${field}"`).join(',')}]';
      client_body_buffer_size 256k; large_client_header_buffers 4 128k;
      server {
        listen 127.0.0.1:${port}; access_log ${log} seen;
        location / { proxy_pass http://127.0.0.1:${inner}; }
      }
      server { listen 127.0.0.1:${inner}; access_log off; return 200 "ok"; }
    }`
  writeFileSync(join(directory, 'nginx.conf'), config)
  const program = await run('nginx', ['-c', join(directory, 'nginx.conf'), '-e', join(directory, 'errors')], port)
  const parse = (): ReadRequest[] =>
    linesOf(existsSync(log) ? readFileSync(log, 'latin1') : '').map((line) => {
      const [id = '', method = '', host = '', url = '', normal = '', body = '', status = ''] = JSON.parse(line) as string[]
      return { id, method, host, url, normal, bodyBytes: body.length, isServed: status === '200' }
    })
  return {
    name: 'nginx',
    port,
    read: (served) => whenServed(served, parse),
    async [Symbol.asyncDispose]() {
      await stop(program)
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** haproxy: waits for the body, normalises the path by all its normalisers, answers by itself. */
export async function startHaproxy(): Promise<Backend> {
  const directory = mkdtempSync('/tmp/weft-haproxy-')
  const port = await freePort()
  const names = ['id', 'host', 'url', 'normal', 'body']
  const config = `global
  log stdout len 65535 format raw local0
  expose-experimental-directives
defaults
  mode http
  log global
  timeout client 10s
  timeout http-request 10s
  log-format "%ST %HM ${names.map((name) => `${name}=%[var(txn.${name}),hex]`).join(' ')}"
frontend seen
  bind 127.0.0.1:${port}
  http-request set-var(txn.id) req.hdr(x-request-id)
  http-request set-var(txn.host) req.fhdr(host)
  http-request set-var(txn.url) url
  http-request wait-for-body time 9s
  http-request set-var(txn.body) req.body
  http-request normalize-uri percent-decode-unreserved
  http-request normalize-uri path-merge-slashes
  http-request normalize-uri path-strip-dot
  http-request normalize-uri path-strip-dotdot full
  http-request set-var(txn.normal) path,url_dec
  http-request return status 200 content-type text/plain string ok
`
  writeFileSync(join(directory, 'haproxy.cfg'), config)
  const program = await run('haproxy', ['-db', '-f', join(directory, 'haproxy.cfg')], port)
  const parse = (): ReadRequest[] =>
    linesOf(program.text).flatMap((line) => {
      const [status = '', method = '', ...rest] = line.split(' ')
      const [id = '', host = '', url = '', normal = '', body = ''] = rest.map((text) => unhex(text.slice(text.indexOf('=') + 1)))
      return id === '' ? [] : [{ id, method, host, url, normal, bodyBytes: body.length, isServed: status === '200' }]
    })
  return {
    name: 'haproxy',
    port,
    read: (served) => whenServed(served, parse),
    async [Symbol.asyncDispose]() {
      await stop(program)
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

interface Running {
  readonly child: ChildProcess
  text: string
}

/** Starts a program and waits until it accepts connections. */
async function run(program: string, args: readonly string[], port: number): Promise<Running> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const running: Running = { child, text: '' }
  let said = ''
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    running.text += text
  })
  child.stderr.on('data', (text) => {
    said += String(text)
  })
  let failed: Error | undefined
  child.once('error', (error) => {
    failed = error
  })
  for (const endMs = performance.now() + WAIT_MS; !(await accepts(port)); ) {
    assert.ok(failed === undefined && child.exitCode === null && performance.now() < endMs, `${program} does not run: ${failed ?? said}`)
    await pause()
  }
  return running
}

async function stop({ child }: Running): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function whenServed(served: number, list: () => readonly ReadRequest[]): Promise<readonly ReadRequest[]> {
  for (const endMs = performance.now() + WAIT_MS; ; await pause()) {
    const found = list()
    if (found.filter((one) => one.isServed).length >= served || performance.now() > endMs) return found
  }
}

/** As `new URL` of a browser or of an application on Node.js reads it. */
function browserPath(url: string): string | undefined {
  try {
    return decodeBytes(new URL(url, 'http://h').pathname)
  } catch {
    return undefined
  }
}

/** Percent-decodes once, bytes stay bytes. */
function decodeBytes(path: string): string {
  return path.replaceAll(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}

function unhex(text: string): string {
  return Buffer.from(text, 'hex').toString('latin1')
}

function linesOf(text: string): string[] {
  return text.split('\n').slice(0, -1)
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS))
}
