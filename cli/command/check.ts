// weft check: what this machine must have, and the way out where something is missing.
import type { Command } from 'commander'
import { checkMachine } from '../check.ts'
import { parseFormat } from '../options.ts'
import { type Format, formatTable, formatValue, print } from '../output.ts'

/** Registers the command. */
export function registerCheck(program: Command): void {
  program
    .command('check')
    .description('what this machine must have; status 1 when something is missing')
    .option('-o, --output <FORMAT>', 'table, json or yaml', parseFormat, 'table')
    .action((flags: { output: Format }) => {
      const format = flags.output
      const findings = checkMachine()
      const rows = findings.map((one) => [
        one.isGood ? 'ok' : one.isNeeded ? 'MISSING' : 'warning',
        one.what,
        one.seen,
        one.isGood ? '' : one.wayOut,
      ])
      print(format === 'table' ? formatTable(['', 'WHAT', 'SEEN', 'WAY OUT'], rows) : formatValue(findings, format))
      if (findings.some((one) => !one.isGood && one.isNeeded)) process.exitCode = 1
    })
}
