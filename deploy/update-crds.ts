// Writes the chart's CustomResourceDefinitions: `node deploy/update-crds.ts GATEWAY_API_DIR ISTIO_API_DIR`, the folders of the Go
// modules sigs.k8s.io/gateway-api and istio.io/api (`go mod download -json MODULE@VERSION` names them). Theirs go to crds/, which
// Helm makes where they are missing and never touches again: other programs use them too. Gateway API's are the experimental channel, which
// alone has retries. Ours is a template: upgraded with the chart.
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseAllDocuments, stringify } from 'yaml'
import { BUNDLED_CRDS, crdTemplate, markedCrd } from './crd-files.ts'

const CHART = join(import.meta.dirname, 'chart')

const [gatewayApi, istioApi] = process.argv.slice(2)
if (gatewayApi === undefined || istioApi === undefined) {
  process.stderr.write('usage: node deploy/update-crds.ts GATEWAY_API_DIR ISTIO_API_DIR\n')
  process.exit(2)
}
writeFileSync(join(CHART, 'templates', 'mesh', 'rate-limit-policy.yaml'), crdTemplate())
const istio = documents(join(istioApi, 'kubernetes', 'customresourcedefinitions.gen.yaml'))
for (const name of BUNDLED_CRDS) {
  const [plural = '', ...rest] = name.split('.')
  const group = rest.join('.')
  const isGateway = group === 'gateway.networking.k8s.io'
  const from = isGateway ? documents(join(gatewayApi, 'config', 'crd', 'experimental', `${group}_${plural}.yaml`)) : istio
  const crd = from.find((one) => one.metadata.name === name)
  if (crd === undefined) throw new Error(`${name} is not there`)
  const origin = `${isGateway ? 'sigs.k8s.io' : 'istio.io'}/${basename(isGateway ? gatewayApi : istioApi)}, Apache-2.0; written by deploy/update-crds.ts`
  writeFileSync(join(CHART, 'crds', `${name}.yaml`), `# ${origin}\n${stringify(markedCrd(crd), { lineWidth: 0 })}`)
}

function documents(file: string): { readonly metadata: { readonly name: string; readonly labels?: object } }[] {
  return parseAllDocuments(readFileSync(file, 'utf8')).map((one) => one.toJS())
}
