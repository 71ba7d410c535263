-- What callers send: mostly small predictions, among them whatever else there is.
local head = "POST /v1/models/iris/predict%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s"
local function post(query, lines, body)
  return head:format(query, lines .. "Content-Length: " .. #body .. "\r\n", body)
end
local common = post("", "Content-Type: application/json\r\n", "[[5.1, 3.5, 1.4, 0.2]]")
local others = {
  post("?die", "", "[1]"),
  post("?status=500", "", "[1]"),
  post("?size=100000", "", "[1]"),
  post("", "", ("x"):rep(50000)),
  post("", "TE: trailers\r\n", "[1]"),
  post("", "X-Malformed : yes\r\n", "[1]"),
  post("", "Expect: 100-continue\r\n", ""),
  (post("", "", "[1]"):gsub("/iris/", "/nobody/")),
  head:format("?size=0", "Transfer-Encoding: chunked\r\n", "3\r\n[1]\r\n0\r\n\r\n"),
  "GET /v1/models/iris/versions/1/raw/any?size=10 HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
local sent, other = 0, 0

function request()
  sent = sent + 1
  if sent % 80 > 0 then return common end
  other = other % #others + 1
  return others[other]
end

function done(summary)
  io.write(("\n%d requests, %d refused, %d broken, %d late\n"):format(
    summary.requests, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write, summary.errors.timeout))
end
