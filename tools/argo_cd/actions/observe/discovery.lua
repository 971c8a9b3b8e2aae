actions["observe"] = {
  ["displayName"] = "Observe Only",
  ["iconClass"] = "fa fa-fw fa-eye",
  ["disabled"] = observed
}
