// The table of the chart's values in docs/kubernetes.md, made from values.yaml: name, default, and the comment above it. The test
// compares the page with it; UPDATE=1 writes it.
import { isMap, isScalar, type Node, type Pair, parseDocument } from 'yaml'

/** One value that a user may set. */
export interface ValueRow {
  /** `cni.mode` */
  readonly name: string
  /** Its default as YAML on one line. */
  readonly standard: string
  /** The comment above it, without marks; the group's comment when it has none of its own. */
  readonly help: string
}

/** Every value with a default, in the order of the file. Resources and other free maps are one value. */
export function valueRows(yaml: string): ValueRow[] {
  const document = parseDocument(yaml)
  if (!isMap(document.contents)) return []
  return document.contents.items.flatMap((pair, index) => rowsOf(pair, '', index === 0 ? commentOf(document.contents) : ''))
}

/** The table as Markdown. */
export function valuesTable(rows: readonly ValueRow[]): string {
  const lines = rows.map(
    ({ name, standard, help }) => `| \`${name}\` | ${standard === '' ? '' : `\`${standard}\``} | ${help.replaceAll('|', '\\|')} |`,
  )
  return ['| value | default | what it does |', '|---|---|---|', ...lines].join('\n')
}

/** Maps whose keys are the user's. */
const WHOLE = /^(resources|requests|nodeSelector|podLabels|podAnnotations|labels)$/

function rowsOf(pair: Pair, prefix: string, above: string): ValueRow[] {
  const { key, value } = pair as Pair<Node, Node | null>
  const name = `${prefix}${isScalar(key) ? String(key.value) : ''}`
  const own = commentOf(key) || above
  const isGroup = isMap(value) && value.items.length > 0 && !WHOLE.test(name.split('.').at(-1) ?? '')
  if (!isGroup) return [{ name, standard: value === null ? '' : shortOf(value.toJSON()), help: own }]
  return value.items.flatMap((child, index) => rowsOf(child, `${name}.`, (index === 0 ? commentOf(value) : '') || own))
}

function shortOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** Only what stands directly above: a blank line ends a comment's reach. */
function commentOf(node: Node | null): string {
  const text = node?.commentBefore ?? ''
  const last = text.split(/\n\s*\n/).at(-1) ?? ''
  return last
    .split('\n')
    .map((line) => line.trim())
    .join(' ')
    .trim()
}
