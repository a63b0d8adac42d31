//! The standard definitions: put in once, and never again what was there before.

use super::ROWS;
use crate::{
    metadefs::{Contents, Namespace},
    store::{Sql, Value},
};
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row as _},
};
use ferrostack_model::{Result, Timestamp};
use serde_json::json;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A namespace, a kind and an item: what was put in, or is not to be.
type Mark = (String, &'static str, String);

const ASSOCIATION: &str = "association";
const PROPERTY: &str = "property";
const OBJECT: &str = "object";
const TAG: &str = "tag";
const NAMESPACE: &str = "namespace";
/// The item of a namespace whose name was somebody's before: nothing is put into it.
const FOREIGN: &str = "foreign";

/// One standard namespace with all that is in it.
pub type Definition = (Namespace, Contents);

/// Adds what of `definitions` was never put in. What an admin changed or deleted stays as it is, and so does a
/// namespace that had a standard name already. Any number of replicas may do so at once.
pub async fn load(db: &Db, definitions: &[Definition]) -> Result<()> {
    let marks = marks(db).await?;
    let is_new = |d: &Definition| !marks.contains(&(d.0.name.clone(), NAMESPACE.to_owned(), String::new()));
    let (new, known): (Vec<_>, Vec<_>) = definitions.iter().partition(|d| is_new(d));
    let grown: Vec<(&Definition, Contents)> = known
        .into_iter()
        .filter(|d| !marks.contains(&(d.0.name.clone(), NAMESPACE.to_owned(), FOREIGN.to_owned())))
        .map(|d| (d, unmarked(d, &marks)))
        .filter(|(_, more)| *more != Contents::default())
        .collect();
    if new.is_empty() && grown.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin_write().await?;
    add_new(&mut tx, &new).await?;
    for (definition, more) in grown {
        grow(&mut tx, &definition.0.name, &more).await?;
    }
    tx.commit().await.map_err(db_error)
}

async fn marks(db: &Db) -> Result<HashSet<(String, String, String)>> {
    let rows = sqlx::query("SELECT namespace, kind, item FROM metadef_standard")
        .fetch_all(db.reader())
        .await
        .map_err(db_error)?;
    rows.iter()
        .map(|r| Ok((r.try_get(0)?, r.try_get(1)?, r.try_get(2)?)))
        .collect::<sqlx::Result<_>>()
        .map_err(db_error)
}

/// What of the definition came with a newer release than the one that put the namespace in.
fn unmarked(definition: &Definition, marks: &HashSet<(String, String, String)>) -> Contents {
    let (namespace, contents) = definition;
    let new =
        |kind: &str, item: &str| !marks.contains(&(namespace.name.clone(), kind.to_owned(), item.to_owned()));
    Contents {
        associations: contents.associations.iter().filter(|x| new(ASSOCIATION, &x.name)).cloned().collect(),
        properties: contents.properties.iter().filter(|x| new(PROPERTY, &x.name)).cloned().collect(),
        objects: contents.objects.iter().filter(|x| new(OBJECT, &x.name)).cloned().collect(),
        tags: contents.tags.iter().filter(|x| new(TAG, &x.name)).cloned().collect(),
    }
}

fn items<'a>(namespace: &'a str, contents: &'a Contents) -> impl Iterator<Item = Mark> + 'a {
    let mark = |kind: &'static str, item: &str| (namespace.to_owned(), kind, item.to_owned());
    let associations = contents.associations.iter().map(move |x| mark(ASSOCIATION, &x.name));
    let properties = contents.properties.iter().map(move |x| mark(PROPERTY, &x.name));
    let objects = contents.objects.iter().map(move |x| mark(OBJECT, &x.name));
    let tags = contents.tags.iter().map(move |x| mark(TAG, &x.name));
    associations.chain(properties).chain(objects).chain(tags)
}

async fn add_new(tx: &mut Tx, definitions: &[&Definition]) -> Result<()> {
    // The marks come first: who writes them does the rest, another replica waits here and finds it done.
    let heads = definitions.iter().map(|d| (d.0.name.clone(), NAMESPACE, String::new()));
    let mine = set_marks(tx, heads.collect()).await?;
    let mine: Vec<&Definition> = definitions.iter().filter(|d| mine.contains(&d.0.name)).copied().collect();
    let rows = mine.iter().map(|(n, _)| {
        vec![
            text(&n.id),
            text(&n.name),
            maybe(&n.display_name),
            maybe(&n.description),
            text(n.visibility.as_str()),
            number(i64::from(n.protected)),
            text(&n.owner),
            number(n.created_at.0),
            number(n.updated_at.0),
            number(n.generation),
        ]
    });
    let ours = insert(
        tx,
        "INSERT INTO metadef_namespace (id, name, display_name, description, visibility, protected, owner, \
         created_at, updated_at, generation) VALUES ",
        " ON CONFLICT DO NOTHING RETURNING name",
        rows.collect(),
    )
    .await?;
    let mut marks = Vec::new();
    let mut added: Vec<(&str, &Contents)> = Vec::new();
    for (namespace, contents) in mine {
        marks.extend(items(&namespace.name, contents));
        if ours.contains(&namespace.name) {
            added.push((&namespace.id, contents));
        } else {
            marks.push((namespace.name.clone(), NAMESPACE, FOREIGN.to_owned()));
        }
    }
    fill(tx, &added).await?;
    set_marks(tx, marks).await?;
    Ok(())
}

/// Adds what is new in a namespace that was put in earlier; nothing if it is gone or has another name now.
async fn grow(tx: &mut Tx, name: &str, more: &Contents) -> Result<()> {
    let row = sqlx::query("SELECT id FROM metadef_namespace WHERE name = $1")
        .bind(name)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?;
    let Some(row) = row else { return Ok(()) };
    let id: String = row.try_get(0).map_err(db_error)?;
    fill(tx, &[(&id, more)]).await?;
    set_marks(tx, items(name, more).collect()).await?;
    Ok(())
}

/// Sets marks; the namespaces of those that were not set before.
async fn set_marks(tx: &mut Tx, marks: Vec<Mark>) -> Result<HashSet<String>> {
    let rows =
        marks.into_iter().map(|(namespace, kind, item)| vec![text(&namespace), text(kind), text(&item)]);
    insert(
        tx,
        "INSERT INTO metadef_standard (namespace, kind, item) VALUES ",
        " ON CONFLICT DO NOTHING RETURNING namespace",
        rows.collect(),
    )
    .await
}

async fn fill(tx: &mut Tx, added: &[(&str, &Contents)]) -> Result<()> {
    let now = Timestamp::now().0;
    // The lists are in the order of creation.
    let mut at = now;
    let mut next = || {
        at += 1;
        at
    };
    let types: BTreeSet<&str> =
        added.iter().flat_map(|(_, c)| c.associations.iter().map(|a| a.name.as_str())).collect();
    let rows = types.into_iter().map(|name| vec![text(name), number(now), number(now)]).collect();
    insert(
        tx,
        "INSERT INTO metadef_resource_type (name, created_at, updated_at) VALUES ",
        " ON CONFLICT DO NOTHING RETURNING name",
        rows,
    )
    .await?;
    let mut groups: HashMap<&str, Vec<Row>> = HashMap::new();
    for (id, contents) in added {
        for a in &contents.associations {
            let at = next();
            groups.entry(ASSOCIATION).or_default().push(vec![
                text(id),
                text(&a.name),
                maybe(&a.prefix),
                maybe(&a.properties_target),
                number(at),
                number(at),
            ]);
        }
        for p in &contents.properties {
            let at = next();
            let schema = serde_json::Value::Object(p.schema.clone()).to_string();
            groups.entry(PROPERTY).or_default().push(vec![
                text(id),
                text(&p.name),
                text(&schema),
                number(at),
                number(at),
            ]);
        }
        for o in &contents.objects {
            let at = next();
            groups.entry(OBJECT).or_default().push(vec![
                text(id),
                text(&o.name),
                maybe(&o.description),
                text(&json!(o.required).to_string()),
                text(&serde_json::Value::Object(o.properties.clone()).to_string()),
                number(at),
                number(at),
            ]);
        }
        for t in &contents.tags {
            let at = next();
            groups.entry(TAG).or_default().push(vec![text(id), text(&t.name), number(at), number(at)]);
        }
    }
    for (kind, head) in [
        (
            ASSOCIATION,
            "INSERT INTO metadef_association (namespace_id, resource_type, prefix, properties_target, created_at, \
             updated_at) VALUES ",
        ),
        (
            PROPERTY,
            "INSERT INTO metadef_property (namespace_id, name, schema, created_at, updated_at) VALUES ",
        ),
        (
            OBJECT,
            "INSERT INTO metadef_object (namespace_id, name, description, required, properties, created_at, \
             updated_at) VALUES ",
        ),
        (TAG, "INSERT INTO metadef_tag (namespace_id, name, created_at, updated_at) VALUES "),
    ] {
        let rows = groups.remove(kind).unwrap_or_default();
        insert(tx, head, " ON CONFLICT DO NOTHING RETURNING namespace_id", rows).await?;
    }
    Ok(())
}

/// The values of a row; `None`: NULL.
type Row = Vec<Option<Value>>;

fn text(text: &str) -> Option<Value> {
    Some(text.into())
}
fn maybe(text: &Option<String>) -> Option<Value> {
    text.as_deref().map(Value::from)
}
fn number(number: i64) -> Option<Value> {
    Some(number.into())
}

/// Inserts rows, many at once; the first column of those that were new.
async fn insert(
    tx: &mut Tx,
    head: &'static str,
    tail: &'static str,
    rows: Vec<Row>,
) -> Result<HashSet<String>> {
    let mut new = HashSet::new();
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut sql = Sql::new(head);
        for (i, row) in rows.by_ref().take(ROWS).enumerate() {
            sql.push(if i == 0 { "(" } else { ", (" });
            for (j, value) in row.into_iter().enumerate() {
                if j > 0 {
                    sql.push(", ");
                }
                match value {
                    Some(value) => sql.bind(value),
                    None => sql.push("NULL"),
                }
            }
            sql.push(")");
        }
        sql.push(tail);
        for row in sql.fetch_in(tx).await.map_err(db_error)? {
            new.insert(row.try_get(0).map_err(db_error)?);
        }
    }
    Ok(new)
}
