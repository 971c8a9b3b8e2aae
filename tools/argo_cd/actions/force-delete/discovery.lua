actions["force-delete"] = {
  ["displayName"] = "Force Delete (Abandons an Account in Use)",
  ["iconClass"] = "fa fa-fw fa-trash",
  ["disabled"] = obj.metadata.deletionTimestamp == nil
}
