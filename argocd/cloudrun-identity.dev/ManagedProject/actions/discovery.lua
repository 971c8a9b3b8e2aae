local suspended = obj.spec.suspend == true
local observed = obj.spec.managementPolicy == "Observe"
local actions = {}
actions["reconcile"] = {
  ["displayName"] = "Reconcile Now",
  ["iconClass"] = "fa fa-fw fa-rotate",
  ["disabled"] = suspended
}
actions["suspend"] = {
  ["displayName"] = "Suspend",
  ["iconClass"] = "fa fa-fw fa-pause",
  ["disabled"] = suspended
}
actions["resume"] = {
  ["displayName"] = "Resume",
  ["iconClass"] = "fa fa-fw fa-play",
  ["disabled"] = not suspended
}
actions["observe"] = {
  ["displayName"] = "Observe Only",
  ["iconClass"] = "fa fa-fw fa-eye",
  ["disabled"] = observed
}
actions["manage"] = {
  ["displayName"] = "Manage",
  ["iconClass"] = "fa fa-fw fa-wrench",
  ["disabled"] = not observed
}
return actions
