-- The status follows kstatus: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
-- Conditions and reasons: https://github.com/cloudrun-identity/cloudrun-identity/blob/main/docs/reference/status.md
local status = obj.status or {}
local conditions = {}
if status.observedGeneration == obj.metadata.generation then
  for _, condition in ipairs(status.conditions or {}) do
    conditions[condition.type] = condition
  end
end

local stalled, reconciling, ready = conditions.Stalled, conditions.Reconciling, conditions.Ready
if stalled and stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if reconciling and reconciling.status == "True" then
  return {status = "Progressing", message = reconciling.message}
end
if ready and ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
if ready and ready.status == "False" then
  -- The operator does not act: the object or its project is suspended, or observed and different.
  return {status = "Suspended", message = ready.message}
end
return {status = "Progressing", message = "Waiting for the operator"}
