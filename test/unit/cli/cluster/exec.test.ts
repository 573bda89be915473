// pods/exec and pods/portforward over channels: what is asked, what comes back, how it ends.
import assert from 'node:assert/strict'
import { createServer, get } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import type { ChannelSocket } from '../../../../cli/cluster/access.ts'
import { execInPod } from '../../../../cli/cluster/exec.ts'
import { PodPort } from '../../../../cli/cluster/pod-port.ts'

type Take = (channel: number, data: Buffer) => boolean

/** A socket that keeps what is sent, and lets the test answer. */
function channels(answer: (take: Take, close: () => void) => void) {
  const sent: Buffer[] = []
  const asked: string[] = []
  const listeners: (() => void)[] = []
  const socket: ChannelSocket = {
    send: (data) => void sent.push(data),
    close: () => undefined,
    addEventListener: (type, listener) => void (type === 'close' && listeners.push(listener)),
  }
  const openChannels = async (path: string, take: Take): Promise<ChannelSocket> => {
    asked.push(path)
    setImmediate(() => answer(take, () => listeners.forEach((listener) => void listener())))
    return socket
  }
  return { openChannels, sent, asked }
}

const at = { namespace: 'shop', pod: 'cart', container: 'main', command: ['sh', '-c', 'a b'] }
const streams = () => ({ stdout: new PassThrough(), stderr: new PassThrough() })

describe('execInPod', () => {
  const exit = (code: string) => ({
    status: 'Failure',
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: code }] },
  })
  const rows: { name: string; status: object; given: number }[] = [
    { name: 'done', status: { status: 'Success' }, given: 0 },
    { name: 'ended with 3', status: exit('3'), given: 3 },
    { name: 'killed', status: exit('137'), given: 137 },
  ]
  for (const { name, status, given } of rows)
    it(`tells a command that is ${name}`, async () => {
      const { stdout, stderr } = streams()
      const access = channels((take) => {
        take(1, Buffer.from('out'))
        take(2, Buffer.from('err'))
        assert.equal(take(3, Buffer.from(JSON.stringify(status))), false)
      })
      assert.equal(await execInPod(access, { ...at, stdout, stderr }), given)
      assert.equal(String(stdout.read()), 'out')
      assert.equal(String(stderr.read()), 'err')
      const { pathname, searchParams } = new URL(access.asked[0] ?? '', 'http://api')
      assert.equal(pathname, '/api/v1/namespaces/shop/pods/cart/exec')
      assert.deepEqual(searchParams.getAll('command'), at.command)
      assert.equal(searchParams.get('stdin'), 'false')
    })

  it('says why a command was not started', async () => {
    const access = channels((take) => void take(3, Buffer.from(JSON.stringify({ status: 'Failure', message: 'no such file' }))))
    await assert.rejects(execInPod(access, { ...at, ...streams() }), /no such file/)
  })

  it('is no success when the connection ends first', async () => {
    const access = channels((_, close) => close())
    await assert.rejects(execInPod(access, { ...at, ...streams() }), { code: 'API_FAILED' })
  })

  it('passes on the input, its end, and the size of the terminal', async () => {
    const stdin = new PassThrough()
    stdin.end('hi')
    const access = channels((take) => void setTimeout(() => take(3, Buffer.from('{"status":"Success"}')), 20))
    await execInPod(access, { ...at, ...streams(), stdin, tty: true, size: () => ({ columns: 80, rows: 24 }) })
    assert.deepEqual(
      access.sent.map((data) => [data[0], data.subarray(1).toString()]),
      [
        [4, '{"Width":80,"Height":24}'],
        [0, 'hi'],
        [255, '\0'],
      ],
    )
    assert.match(access.asked[0] ?? '', /stderr=false&tty=true/)
  })
})

describe('PodPort', () => {
  /** A port whose other side is a real socket; the first message of each channel names the port. */
  function joined(far: Socket): PodPort {
    const port = new PodPort()
    port.connect({
      send: (data) => void far.write(data.subarray(1)),
      close: () => void far.destroy(),
      addEventListener: (type, listener) => void (type === 'close' && far.on('close', listener)),
    })
    for (const channel of [0, 1]) port.receive(channel, Buffer.of(0x98, 0x3a))
    far.on('data', (data: Buffer) => port.receive(0, data))
    return port
  }

  it('carries an HTTP exchange', async () => {
    const server = createServer((request, response) => response.end(`asked for ${request.url}`)).listen(0, '127.0.0.1')
    await new Promise((done) => server.once('listening', done))
    const far = connect((server.address() as AddressInfo).port, '127.0.0.1')
    try {
      const answer = await new Promise<string>((done, fail) => {
        const request = get({ host: 'pod', path: '/config_dump', createConnection: () => joined(far) }, (response) => {
          let text = ''
          response.on('data', (chunk) => (text += chunk)).on('end', () => done(text))
        })
        request.on('error', fail)
      })
      assert.equal(answer, 'asked for /config_dump')
    } finally {
      far.destroy()
      server.close()
    }
  })

  it('fails with what the node says', async () => {
    const port = new PodPort()
    const failed = new Promise<Error>((done) => port.once('error', done))
    port.receive(1, Buffer.of(0, 0))
    assert.equal(port.receive(1, Buffer.from('connection refused\n')), false)
    assert.match((await failed).message, /connection refused/)
  })
})
