// The mesh half of Gateway API's conformance suite (v1.6.3, profiles MESH-HTTP and MESH-GRPC) against a whole mesh: the suite's
// manifests, its application and its client, its tests' requests and expectations. None of its mesh tests is left out.
// Waypoints are for services and pods (`istio.io/waypoint-for: all`): MeshFrontend calls a pod by its address, and a waypoint for
// services alone would have that refused (docs/differences.md).
// Stricter than the suite: 20 right answers in a row instead of 3, and paths and Locations that it names, but does not compare.
import assert from 'node:assert/strict'
import { shareFault, titleOf } from '../support/conformance-answers.ts'
import { MESH_TESTS } from '../support/conformance-mesh-cases.ts'
import { ConformanceStage } from '../support/conformance-stage.ts'

const WEIGHTED_REQUESTS = 500
/** 5 % are 2.4 standard deviations of the draw; the suite tries 10 times. */
const WEIGHTED_TRIES = 3

describe('Gateway API conformance in a mesh', function () {
  this.timeout('60s')
  let stage: ConformanceStage

  before(async function () {
    this.timeout('900s') // the first time Go builds the suite's application
    stage = await ConformanceStage.open()
  })
  after(async () => {
    await stage?.[Symbol.asyncDispose]()
  })

  for (const test of MESH_TESTS) {
    describe(test.name, () => {
      before(() => stage.apply(test))
      after(() => stage.remove(test))

      for (const one of test.consumerCases ?? []) {
        it(`consumer: ${titleOf(one)}`, () => stage.expect(one, 'consumer'))
      }
      for (const one of test.cases) {
        it(titleOf(one), () => stage.expect(one))
      }
      const { shares } = test
      if (shares === undefined) return
      it(`${WEIGHTED_REQUESTS} requests: ${JSON.stringify(shares)}`, async () => {
        const [one = {}] = test.cases
        const faults: string[] = []
        while (faults.length < WEIGHTED_TRIES) {
          const answers = await stage.batch(one, WEIGHTED_REQUESTS)
          const fault = shareFault(
            answers.map(({ hostname }) => hostname),
            shares,
          )
          if (fault === undefined) return
          faults.push(fault)
        }
        assert.fail(faults.join('\n'))
      })
    })
  }
})
