"""The `growth` benchmark: costs against the number of objects, beside other ways to write policies."""
