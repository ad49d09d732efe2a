//! Makes a cluster that fails smaller, while it fails in the same way.

use anyhow::Result;
use serde_json::Value;

use crate::case::Case;

/// Objects that others only refer to; they stay until nothing does.
const FURNITURE: [&str; 5] = ["Namespace", "StorageClass", "PriorityClass", "DeviceClass", "RuntimeClass"];

/// The smallest cluster found of those that `fails` says still fail, `case` being one.
///
/// Objects go first, then fields of those that are left. Each is tried alone, over and over, until none can go: a
/// handful of dozens of objects, so simple will do.
///
/// # Errors
/// Where `fails` cannot tell.
pub(crate) fn shrink(case: &Case, fails: &mut dyn FnMut(&Case) -> Result<bool>) -> Result<Case> {
    let mut small = case.clone();
    loop {
        let before = small.clone();
        without_objects(&mut small, fails)?;
        without_types(&mut small, fails)?;
        without_fields(&mut small, fails)?;
        if small == before {
            break;
        }
    }
    let mut tidy = small.clone();
    let text = tidy.objects.iter().filter(|o| !is_furniture(o)).map(Value::to_string).collect::<String>();
    tidy.objects.retain(|o| {
        !is_furniture(o)
            || text.contains(&format!("\"{}\"", o["metadata"]["name"].as_str().unwrap_or_default()))
    });
    Ok(if fails(&tidy)? { tidy } else { small })
}

fn is_furniture(object: &Value) -> bool {
    FURNITURE.iter().any(|kind| object["kind"] == *kind)
}

fn without_objects(case: &mut Case, fails: &mut dyn FnMut(&Case) -> Result<bool>) -> Result<()> {
    let mut at = case.objects.len();
    while at > 0 {
        at -= 1;
        if at >= case.objects.len() || is_furniture(&case.objects[at]) {
            continue;
        }
        let mut smaller = case.clone();
        let gone = smaller.objects.remove(at);
        if gone["kind"] == "Node" {
            // What is on it goes with it.
            let name = &gone["metadata"]["name"];
            smaller.objects.retain(|o| {
                o["spec"]["nodeName"] != *name && !(o["kind"] == "CSINode" && o["metadata"]["name"] == *name)
            });
        }
        if fails(&smaller)? {
            *case = smaller;
        }
    }
    Ok(())
}

fn without_types(case: &mut Case, fails: &mut dyn FnMut(&Case) -> Result<bool>) -> Result<()> {
    let count = |case: &Case| case.catalog.as_array().map_or(0, Vec::len);
    let offerings = |case: &Case, at: usize| case.catalog[at]["offerings"].as_array().map_or(0, Vec::len);
    for at in (0..count(case)).rev() {
        let mut smaller = case.clone();
        smaller.catalog.as_array_mut().map(|types| types.remove(at));
        if count(&smaller) > 0 && fails(&smaller)? {
            *case = smaller;
            continue;
        }
        for offering in (0..offerings(case, at)).rev() {
            let mut smaller = case.clone();
            smaller.catalog[at]["offerings"].as_array_mut().map(|o| o.remove(offering));
            if offerings(&smaller, at) > 0 && fails(&smaller)? {
                *case = smaller;
            }
        }
    }
    Ok(())
}

/// Takes away parts of specs: whatever is in a map or list of a pod, node or `NodePool` and is not needed for it to be one.
fn without_fields(case: &mut Case, fails: &mut dyn FnMut(&Case) -> Result<bool>) -> Result<()> {
    for at in 0..case.objects.len() {
        if !["Pod", "Node", "NodePool"].iter().any(|kind| case.objects[at]["kind"] == *kind) {
            continue;
        }
        let mut paths = Vec::new();
        collect(&case.objects[at], "", &mut paths);
        for path in paths {
            let mut smaller = case.clone();
            if remove(&mut smaller.objects[at], &path) && fails(&smaller)? {
                *case = smaller;
            }
        }
    }
    Ok(())
}

/// Pointers to what may go, outermost first, later list items before earlier ones.
fn collect(value: &Value, at: &str, paths: &mut Vec<String>) {
    const KEPT: [&str; 17] = [
        "/apiVersion",
        "/kind",
        "/metadata",
        "/metadata/name",
        "/metadata/namespace",
        "/spec",
        "/spec/containers",
        "/spec/nodeName",
        "/status",
        "/status/phase",
        "/status/allocatable",
        "/spec/template",
        "/spec/template/spec",
        "/spec/template/spec/requirements",
        "/metadata/labels",
        // Every kubelet gives its node this one.
        "/metadata/labels/kubernetes.io~1hostname",
        "/spec/selector",
    ];
    if !at.is_empty()
        && !KEPT.contains(&at)
        && !at.starts_with("/spec/containers/0/")
        && !at.starts_with("/metadata/ownerReferences/")
    {
        paths.push(at.to_owned());
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                collect(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), paths);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate().rev() {
                collect(value, &format!("{at}/{index}"), paths);
            }
        }
        _ => {}
    }
}

/// Whether there was something to remove.
fn remove(object: &mut Value, path: &str) -> bool {
    let Some((parent, last)) = path.rsplit_once('/') else { return false };
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => fields.remove(&last.replace("~1", "/").replace("~0", "~")).is_some(),
        Some(Value::Array(items)) => match last.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;

    #[test]
    fn what_does_not_matter_goes() {
        let case = (0..100).map(generate).find(|c| c.of_kind("Node").count() > 1).unwrap();
        let mut tries = 0;
        let small = shrink(&case, &mut |case| {
            tries += 1;
            Ok(case.pending().count() >= 2 && case.of_kind("NodePool").count() >= 1)
        })
        .unwrap();
        assert_eq!(small.pending().count(), 2);
        assert_eq!(small.of_kind("NodePool").count(), 1);
        assert_eq!(small.of_kind("Node").count(), 0);
        assert!(small.pending().all(|pod| pod["spec"]["affinity"].is_null()));
        assert_eq!(small.catalog.as_array().unwrap().len(), 1);
        assert!(tries < 1000, "{tries}");
    }
}
