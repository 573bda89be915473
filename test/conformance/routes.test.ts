// Tests of the gateway half of Gateway API's conformance suite (v1.6.3) whose routes mean the same in a mesh, set on a Service.
// Left out: what is about Gateways, listeners, hostnames, TLS and reference grants; what test/conformance/mesh.test.ts repeats; and
// retries, WebSocket, h2c and the GRPCRoute tests, which ask the suite's own application for answers that Istio's does not have
// (test/netns/waypoint*.test.ts has scenes of them).
import assert from 'node:assert/strict'
import { titleOf } from '../support/conformance-answers.ts'
import { ROUTE_TESTS } from '../support/conformance-route-cases.ts'
import { ConformanceStage } from '../support/conformance-stage.ts'

const MIRRORED_REQUESTS = 500
/** As the suite has it; 3 of 1,000 draws are outside. */
const STANDARD_DEVIATIONS = 3
const MIRROR_TRIES = 3

describe('Gateway API conformance of routes on a Service', function () {
  this.timeout('60s')
  let stage: ConformanceStage

  before(async function () {
    this.timeout('900s') // the first time Go builds the suite's application
    stage = await ConformanceStage.open({ hasThird: true })
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  for (const test of ROUTE_TESTS) {
    describe(test.name, () => {
      before(() => stage.apply(test))
      after(() => stage.remove(test))

      for (const one of test.cases) {
        it(titleOf(one), () => stage.expect(one))
        for (const [backend, share] of Object.entries(one.mirrored ?? {})) {
          it(`${one.path}: ${share * 100} % to ${backend}, too`, async () => {
            const allowed = STANDARD_DEVIATIONS * Math.sqrt(MIRRORED_REQUESTS * share * (1 - share))
            const least = share * MIRRORED_REQUESTS - allowed
            const came: number[] = []
            while (came.length < MIRROR_TRIES) {
              const count = await stage.mirrored(one, backend, MIRRORED_REQUESTS, least)
              if (Math.abs(count - share * MIRRORED_REQUESTS) <= allowed) return
              came.push(count)
            }
            assert.fail(`${came.join(', ')} of ${MIRRORED_REQUESTS}`)
          })
        }
      }
    })
  }
})
