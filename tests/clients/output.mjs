// What the scripts of this directory share.

// Print a value as one line.
export function print(value) {
  process.stdout.write(JSON.stringify(value) + '\n')
}

// End when the test that started this script has gone.
export function endWithParent() {
  process.stdin.on('end', () => process.exit()).resume()
}
