// Rows of /proc/net/tcp and tcp6.
import assert from 'node:assert/strict'
import { parseTcpTable } from '../../../bpf/in-flight.ts'

describe('bpf/in-flight', () => {
  it('takes connects in SYN_SENT, of both families, and nothing else', () => {
    const text = `  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 02004D0A:9C40 C8004D0A:1F90 02 00000001:00000000 01:00000063 00000000     0        0 2
   2: 000077FD000000000000000002000000:9C41 000077FD000000000000000003000000:1F90 02 00000001:00000000 01:00000063 0 0 0 3
   3: 0000000000000000FFFF000002004D0A:9C42 0000000000000000FFFF000003004D0A:1F90 02 00000001:00000000 01:00000063 0 0 0 4
garbage
`
    assert.deepEqual(parseTcpTable(text), [
      { from: { ip: '10.77.0.2', port: 40000 }, to: { ip: '10.77.0.200', port: 8080 } },
      { from: { ip: 'fd77::2', port: 40001 }, to: { ip: 'fd77::3', port: 8080 } },
      { from: { ip: '10.77.0.2', port: 40002 }, to: { ip: '10.77.0.3', port: 8080 } },
    ])
  })
})
