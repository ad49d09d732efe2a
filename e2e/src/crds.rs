//! The custom resources of the charts, put into a control plane; and cases of objects that it takes or refuses.
//!
//! A case begins with the base of its file. `with` is merged into it (null takes a field away), then what cannot be written
//! shortly: `many` puts a list of `count` items somewhere, `#` in them being the item's number; `keys` a map of so many
//! keys; `long` a text of so many letters; `nulls` names fields that are there and null. The object is created, then
//! `then` is merged into it, or `status` into its status. What comes last must be `refused` with this in the message, or
//! else succeed, and what is stored must have all that `becomes` has.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::client::{Answer, Client};

/// A kind is served a moment after its definition was taken; one that is not served by then never will be.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked for.
const EVERY: Duration = Duration::from_millis(25);

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Creates the definitions of the main chart, and waits until all are served.
///
/// # Errors
/// Where one cannot be read, is refused, or is not served.
pub fn install(client: &Client) -> Result<()> {
    let mut collections = Vec::new();
    for (path, text) in texts(&root().join("deploy/charts/stowage/crds"))? {
        let definition: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML", path.display()))?;
        client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition)?;
        let spec = &definition["spec"];
        for version in spec["versions"].as_array().into_iter().flatten() {
            let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let name = part(&spec["names"]["plural"]);
            collections.push(format!("/apis/{}/{}/{name}", part(&spec["group"]), part(&version["name"])));
        }
    }
    let started = Instant::now();
    for collection in collections {
        while client.get(&collection).is_err() {
            ensure!(started.elapsed() < PATIENCE, "{collection} is not served");
            thread::sleep(EVERY);
        }
    }
    Ok(())
}

/// Files of a folder, with their texts, by name.
///
/// # Errors
/// Where they cannot be read.
pub fn texts(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let text = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path, text))
    };
    paths.into_iter().map(text).collect()
}

/// Cases about one kind.
#[derive(Debug)]
pub struct Suite {
    /// Where objects of the kind are.
    pub collection: String,
    /// Names of the columns that people are shown, wide ones included.
    pub columns: Value,
    /// The cases.
    pub cases: Vec<Case>,
}

/// One object, and what becomes of it.
#[derive(Debug)]
pub struct Case {
    /// What is tried.
    pub name: String,
    object: Value,
    then: Option<Value>,
    status: Option<Value>,
    refused: Option<String>,
    becomes: Value,
}

impl Suite {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it is not as described above.
    pub fn read(text: &str) -> Result<Self> {
        let mut file: Map<String, Value> = serde_saphyr::from_str(text)?;
        let mut take = |name: &str| file.remove(name).with_context(|| format!("there is no {name:?}"));
        let base = take("base")?;
        let columns = take("columns")?;
        let collection = take("collection")?.as_str().context("collection is a text")?.to_owned();
        let Value::Array(cases) = take("cases")? else { bail!("cases is a list") };
        let cases = cases.into_iter().map(|case| Case::read(&base, case)).collect::<Result<_>>()?;
        Ok(Self { collection, columns, cases })
    }
}

impl Case {
    fn read(base: &Value, case: Value) -> Result<Self> {
        let Value::Object(mut case) = case else { bail!("a case is a map: {case}") };
        let text = |value: Value| value.as_str().map(str::to_owned).context("a name and a message are texts");
        let name = text(case.remove("name").context("a case has a name")?)?;
        let mut object = base.clone();
        merge(&mut object, case.remove("with").unwrap_or_else(|| json!({})));
        for (what, fields) in ["many", "keys", "long"].map(|what| (what, case.remove(what))) {
            if let Some(fields) = fields {
                let at = fields["at"].as_str().with_context(|| format!("{name}: {what} is at a place"))?;
                put(&mut object, at, filling(what, &fields)).with_context(|| name.clone())?;
            }
        }
        for at in case.remove("nulls").unwrap_or_default().as_array().into_iter().flatten() {
            put(&mut object, at.as_str().unwrap_or_default(), Value::Null).with_context(|| name.clone())?;
        }
        let read = Self {
            object,
            then: case.remove("then"),
            status: case.remove("status"),
            refused: case.remove("refused").map(text).transpose()?,
            becomes: case.remove("becomes").unwrap_or_else(|| json!({})),
            name,
        };
        ensure!(case.is_empty(), "{}: no case has {:?}", read.name, case.keys());
        Ok(read)
    }

    /// Tries it, and says what is not as it should be.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn wrong(&self, client: &Client, collection: &str) -> Result<Option<String>> {
        let created = client.send("POST", collection, "application/json", Some(&self.object))?;
        let path = format!("{collection}/{}", self.object["metadata"]["name"].as_str().unwrap_or_default());
        let mut last = created;
        let after = [(&self.then, path.clone()), (&self.status, format!("{path}/status"))];
        for (fields, path) in after {
            let Some(fields) = fields else { continue };
            if last.status >= 300 {
                return Ok(Some(format!("was not even created: {}", message(&last))));
            }
            let fields = if path.ends_with("/status") { json!({"status": fields}) } else { fields.clone() };
            last = client.send("PATCH", &path, "application/merge-patch+json", Some(&fields))?;
        }
        client.delete(&path)?;
        Ok(match (&self.refused, last.status < 300) {
            (None, true) if holds(&last.body, &self.becomes) => None,
            (None, true) => Some(format!("became {}, not {}", last.body, self.becomes)),
            (None, false) => Some(format!("was refused: {}", message(&last))),
            (Some(_), true) => Some("was accepted".to_owned()),
            (Some(expected), false) if message(&last).contains(expected) => None,
            (Some(expected), false) => Some(format!("was refused without {expected:?}: {}", message(&last))),
        })
    }

    /// Whether it ends with a refusal.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }
}

fn message(answer: &Answer) -> &str {
    answer.body["message"].as_str().unwrap_or_default()
}

fn filling(what: &str, fields: &Value) -> Value {
    let count = fields["count"].as_u64().or_else(|| fields["length"].as_u64()).unwrap_or_default();
    match what {
        "many" => (0..count).map(|number| numbered(&fields["each"], number)).collect(),
        "keys" => Value::Object((0..count).map(|number| (format!("key-{number}"), json!("value"))).collect()),
        _ => json!("a".repeat(usize::try_from(count).unwrap_or_default())),
    }
}

/// The value with its number in place of each `#`.
fn numbered(value: &Value, number: u64) -> Value {
    match value {
        Value::String(text) => json!(text.replace('#', &number.to_string())),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), numbered(value, number))).collect()
        }
        other => other.clone(),
    }
}

/// Puts a value at a JSON pointer, whose parent is a map or whose place is there.
fn put(object: &mut Value, at: &str, value: Value) -> Result<()> {
    if let Some(place) = object.pointer_mut(at) {
        *place = value;
        return Ok(());
    }
    let (parent, name) = at.rsplit_once('/').with_context(|| format!("{at:?} is no place"))?;
    let parent = object.pointer_mut(parent).and_then(Value::as_object_mut);
    parent.with_context(|| format!("there is nothing to put {at} into"))?.insert(name.to_owned(), value);
    Ok(())
}

/// A JSON merge patch.
fn merge(object: &mut Value, patch: Value) {
    let Value::Object(fields) = patch else {
        *object = patch;
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let Some(object) = object.as_object_mut() else { return };
    for (name, value) in fields {
        if value.is_null() {
            object.remove(&name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Whether a value has all that another one has: of maps each field, of lists each item at its place.
fn holds(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::Object(value), Value::Object(part)) => {
            part.iter().all(|(name, part)| value.get(name).is_some_and(|value| holds(value, part)))
        }
        (Value::Array(value), Value::Array(part)) => {
            value.len() == part.len() && value.iter().zip(part).all(|(value, part)| holds(value, part))
        }
        _ => value == part,
    }
}
