// Rows of /proc/net/tcp and udp.
import assert from 'node:assert/strict'
import { portsIn } from '../../../../cni/redirect/listeners.ts'

const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0 100 0 0 10 0
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 102 1 0 100 0 0 10 0
   2: 0302010A:3A9E 0402010A:C350 01 00000000:00000000 00:00000000 00000000     0        0 103 1 0 20 4 30 10 -1
`
const TCP6 = `  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:3AA0 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 0 0 0 104 1
`

describe('cni/redirect/listeners', () => {
  it('gives the local ports of sockets in a state', () => {
    assert.deepEqual(portsIn(TCP, '0A'), [15_001, 8080])
    assert.deepEqual(portsIn(TCP6, '0A'), [15_008])
    assert.deepEqual(portsIn(TCP, '01'), [15_006])
  })

  it('passes over what is no row', () => {
    assert.deepEqual(portsIn('', '0A'), [])
    assert.deepEqual(portsIn('x\ny\n 0: zz:zz 0 0A\n', '0A'), [])
  })
})
