-- POSTs over and over, and prints what came of it as one line of JSON.
-- Arguments: bytes of the body (0: a small JSON document); how many versions to ask in turn (0: only
-- the one that the URL names); how many different heads to send in turn (0: always the same one).
local requests, turn = {}, 0

function init(args)
  local size, versions, heads = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = size > 0 and string.rep("x", size) or '{"features":[5.1,3.5,1.4,0.25]}'
  local count = math.max(versions, heads)
  if count > 0 then
    for i = 0, count - 1 do
      local path = wrk.path
      if versions > 0 then
        path = "/v1/models/crowd-" .. i % versions .. "/versions/0/predict"
      end
      if heads > 0 then wrk.headers["X-Trace"] = string.format("%08d", i) end
      requests[i + 1] = wrk.format(nil, path)
    end
    -- Only where it is needed: without this function wrk sends one prepared request.
    function request()
      turn = turn % count + 1
      return requests[turn]
    end
  end
end

function done(summary, latency)
  local errors, kinds = 0, {}
  for _, kind in ipairs({ "connect", "read", "write", "status", "timeout" }) do
    local count = summary.errors[kind]
    errors = errors + count
    if count > 0 then kinds[#kinds + 1] = kind .. " " .. count end
  end
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"p50":%.1f,"p99":%.1f,"max":%.1f,"errors":%d,"kinds":"%s"}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    latency.max, errors, table.concat(kinds, ", ")))
end
