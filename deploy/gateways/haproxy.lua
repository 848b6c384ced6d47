-- Asks a Sluice node whether a request may pass. Only the key and the request id go along, so nothing that a client sends
-- chooses its tier or cost.
local url = "http://" .. os.getenv("SLUICE") .. "/v1/auth"
local closed = os.getenv("SLUICE_FAIL_CLOSED") == "1"
local unavailable = '{"success":false,"error":"service_unavailable","message":"Please try again later."}\n'

local function deny(txn, status, headers, body)
  local reply = txn:reply({status = status})
  for name, values in pairs(headers) do
    if name ~= "content-length" and name ~= "connection" and name ~= "date" then
      for _, value in pairs(values) do reply:add_header(name, value) end
    end
  end
  reply:set_body(body)
  txn:done(reply)
end

core.register_action("sluice", {"http-req"}, function(txn)
  local asked = txn.http:req_get_headers()
  local answer = core.httpclient():get({
    url = url,
    timeout = 1000,
    headers = {
      ["authorization"] = asked["authorization"] and {asked["authorization"][0]},
      ["x-api-key"] = asked["x-api-key"] and {asked["x-api-key"][0]},
      ["x-request-id"] = asked["x-request-id"] and {asked["x-request-id"][0]},
    },
  })
  if answer.status == 0 or answer.status >= 500 then
    if closed then
      deny(txn, 503, {["content-type"] = {"application/json"}, ["retry-after"] = {"30"}}, unavailable)
    end
    return
  end
  if answer.status ~= 200 then
    deny(txn, answer.status, answer.headers, answer.body)
    return
  end
  for _, name in ipairs({"limit", "remaining", "reset"}) do
    local values = answer.headers["x-ratelimit-" .. name]
    if values then txn:set_var("txn.sluice_" .. name, values[0]) end
  end
end, 0)
