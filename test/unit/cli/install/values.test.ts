// Refusals of the chart's schema in plain words.
import assert from 'node:assert/strict'
import { CHART } from '../../../../cli/install/helm.ts'
import { readRefusal } from '../../../../cli/install/values.ts'

const PATTERN = "does not match pattern '^x$'"
const ROWS = [
  { name: 'an unknown value', given: "at '/cni': additional properties 'mod' not allowed", want: "cni: there is no value 'mod'" },
  { name: 'an unknown value at the top', given: "at '': additional properties 'a', 'b' not allowed", want: "there is no value 'a', 'b'" },
  {
    name: 'an image',
    given: `at '/image/name': 'A B' ${PATTERN}`,
    want: "image.name: 'A B' is not an image such as registry.example/weft:1.0",
  },
  { name: 'a definition', given: `at '/trustDomain': 'A' ${PATTERN}`, want: "trustDomain: 'A' is not a DNS name: a-z, 0-9, - and ." },
  { name: 'a member of a list', given: `at '/cidrs/0': 'x' ${PATTERN}`, want: "cidrs.0: 'x' is not an address block such as 10.0.0.0/8" },
  {
    name: 'a key of the user',
    given: `at '/ztunnel/resources/limits/memory': 'much' ${PATTERN}`,
    want: "ztunnel.resources.limits.memory: 'much' is not a quantity such as 100m, 0.5, 128Mi or 2Gi",
  },
  { name: 'a range', given: "at '/ztunnel/threads': minimum: got -1, want 0", want: 'ztunnel.threads: minimum: got -1, want 0' },
  {
    name: 'words of another helm',
    given: '(root): Additional property a is not allowed',
    want: '(root): Additional property a is not allowed',
  },
  { name: 'a place that the schema has not', given: `at '/no/where': 'x' ${PATTERN}`, want: `no.where: 'x' ${PATTERN}` },
]

describe('a value that the chart refuses', () => {
  for (const { name, given, want } of ROWS) it(name, () => assert.equal(readRefusal(given, CHART), want))
})
