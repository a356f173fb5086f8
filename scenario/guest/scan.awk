# Checks the file of records: `N WORD(1) ... WORD(12) CHECKSUM` a line, numbered from 1.
# The checksum is a polynomial in the words modulo the prime 2^31 - 1, so that the recording shell
# and this script can both compute it exactly and fast. Prints the checksums when print_sums is 1;
# writes `VERDICT LAST BYTES REASON` to /run/verdict. `size` is the size of the file in bytes.

BEGIN { last = bytes = held = after_bad = 0; bad = "" }

# A bad line may only be the last one, and then it is torn: its fsync has not returned.
bad != "" { after_bad = 1; exit }

{
  if ($0 !~ /^[0-9]+( [0-9]+)+$/ || NF != 14) { bad = "malformed"; next }
  if ($1 != last + 1) { bad = "number " $1; next }
  sum = $1
  for (i = 2; i < 14; i++) sum = (sum * 131071 + $i) % 2147483647
  if (sum != $14) { bad = "checksum"; next }
  if (bytes + length($0) + 1 > size) { bad = "no newline"; next }
  bytes += length($0) + 1
  last++
  if (print_sums) {
    line = line " " $14
    if (++held == 32) { print "HS-SUM " (last - 31) line; line = ""; held = 0 }
  }
}

END {
  if (held) print "HS-SUM " (last - held + 1) line
  verdict = "intact"
  if (bad != "") verdict = after_bad ? "corrupt" : "torn"
  else if (bytes != size) { verdict = "corrupt"; bad = "size " size " is not " bytes }
  printf "%s %d %d %s\n", verdict, last, bytes, bad > "/run/verdict"
}
