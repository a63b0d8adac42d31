# Prints a JSON document as lines "path.to.key=value"; control characters in values become spaces, so that a value
# is one line. Enough for metadata: no check that the document is well formed.
{ text = text $0 "\n" }
END {
  position = 1
  value("")
}
function peek() { return substr(text, position, 1) }
function blank() { while (position <= length(text) && index(" \t\r\n", peek())) position++ }
function string(    out, c) {
  position++
  out = ""
  while (position <= length(text)) {
    c = substr(text, position++, 1)
    if (c == "\"") break
    if (c == "\\") {
      c = substr(text, position++, 1)
      if (c == "u") { c = unicode(substr(text, position, 4)); position += 4 }
      else if (c ~ /[nrtbf]/) c = " "
    }
    out = out c
  }
  sub(/[ ]+$/, "", out)
  return out
}
function unicode(digits,    i, code) {
  code = 0
  for (i = 1; i <= 4; i++) code = code * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
  return (code >= 32 && code < 127) ? sprintf("%c", code) : "?"
}
function value(path,    c, key, n, start) {
  blank()
  c = peek()
  if (c == "{" || c == "[") {
    position++
    n = 0
    while (position <= length(text)) {
      blank()
      if (peek() == "}" || peek() == "]") { position++; return }
      if (peek() == ",") { position++; continue }
      if (c == "{") { key = string(); blank(); position++ } else key = n++
      value(path == "" ? key : path "." key)
    }
  } else if (c == "\"") {
    print path "=" string()
  } else {
    start = position
    while (position <= length(text) && !index(",}] \t\r\n", peek())) position++
    if (position == start) position++
    print path "=" substr(text, start, position - start)
  }
}
