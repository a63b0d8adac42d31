//! The definition of a running guest as it is to be on another host.

use ferrostack_model::{Error, Result};
use quick_xml::{
    Reader, Writer,
    events::{BytesStart, BytesText, Event, attributes::Attribute},
};

/// What is other on the other host.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Directory of the guests here.
    pub from: &'a str,
    /// The same there.
    pub to: &'a str,
    /// Where displays listen there.
    pub vnc_listen: &'a str,
}

impl Change<'_> {
    fn path(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix(self.from)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", self.to))
    }
}

/// `xml` (libvirt's, of a running domain) for the other host: the paths of the guest's files, where its display listens,
/// and our mark. Backing files are left out: the other host finds its own.
///
/// # Errors
/// `Internal` if the XML cannot be read.
pub fn elsewhere(xml: &str, change: Change<'_>) -> Result<String> {
    let fail =
        |what: &dyn std::fmt::Display| Error::internal(format!("the XML of a guest on its way: {what}"));
    let mut reader = Reader::from_str(xml);
    let mut writer = Writer::new(Vec::new());
    // Elements of a backing chain that are open.
    let mut backing = 0_u32;
    let mut graphics = false;
    loop {
        let event = reader.read_event().map_err(|e| fail(&e))?;
        let written = match event {
            Event::Eof => break,
            Event::Start(e) if e.name().as_ref() == "backingStore" => {
                backing += 1;
                continue;
            }
            Event::End(e) if e.name().as_ref() == "backingStore" => {
                backing = backing.saturating_sub(1);
                continue;
            }
            Event::Empty(e) if e.name().as_ref() == "backingStore" => continue,
            _ if backing > 0 => continue,
            Event::Start(e) => {
                graphics |= e.name().as_ref() == "graphics";
                Event::Start(element(&e, change, graphics).map_err(|e| fail(&e))?)
            }
            Event::Empty(e) => {
                let own = graphics || e.name().as_ref() == "graphics";
                Event::Empty(element(&e, change, own).map_err(|e| fail(&e))?)
            }
            Event::End(e) => {
                graphics &= e.name().as_ref() != "graphics";
                Event::End(e)
            }
            Event::Text(text) => {
                // Escaped as it was: a path of ours changes its beginning only.
                match change.path(&text) {
                    Some(path) => Event::Text(BytesText::from_escaped(path)),
                    None => Event::Text(text),
                }
            }
            other => other,
        };
        writer.write_event(written).map_err(|e| fail(&e))?;
    }
    String::from_utf8(writer.into_inner()).map_err(|e| fail(&e))
}

fn element(
    e: &BytesStart<'_>,
    change: Change<'_>,
    graphics: bool,
) -> std::result::Result<BytesStart<'static>, quick_xml::events::attributes::AttrError> {
    let name = e.name().as_ref().to_owned();
    let mut made = BytesStart::new(name.clone());
    for attribute in e.attributes() {
        let attribute: Attribute<'_> = attribute?;
        let key = attribute.key.as_ref();
        let value = attribute.value.clone().into_owned();
        let listens = graphics && (key == "listen" || name == "listen" && key == "address");
        let value = match listens {
            true => change.vnc_listen.to_owned(),
            false => change.path(&value).unwrap_or(value),
        };
        made.push_attribute(Attribute {
            key: quick_xml::name::QName(key),
            value: std::borrow::Cow::Borrowed(value.as_str()),
        });
    }
    Ok(made.into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_hosts_own_changes() {
        let xml = r#"<domain type='qemu' id='3'>
  <metadata><f:guest xmlns:f="https://x"><f:name>/srv/a/instances &amp; co</f:name><f:instances>/srv/a/instances</f:instances></f:guest></metadata>
  <os><kernel>/srv/a/instances/1/kernel</kernel></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
      <source file='/srv/a/instances/1/disk' index='1'/>
      <backingStore type='file' index='2'><format type='raw'/><source file='/srv/a/images/x'/><backingStore/></backingStore>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='file'><source file='/srv/a/instances2/disk'/><backingStore/></disk>
    <serial type='pty'><log file='/srv/a/instances/1/console.log' append='on'/></serial>
    <graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1'><listen type='address' address='127.0.0.1'/></graphics>
    <listen address='7'/>
  </devices>
</domain>"#;
        let change = Change { from: "/srv/a/instances", to: "/b", vnc_listen: "::1" };
        let made = elsewhere(xml, change).unwrap();
        let wanted = xml
            .replace("/srv/a/instances/1", "/b/1")
            .replace("<f:instances>/srv/a/instances<", "<f:instances>/b<")
            .replace("127.0.0.1", "::1")
            .replace("<backingStore/></disk>", "</disk>")
            .replace(
                "      <backingStore type='file' index='2'><format type='raw'/><source file='/srv/a/images/x'/><backingStore/></backingStore>\n",
                "      \n",
            )
            .replace('\'', "\"");
        assert_eq!(made.replace('\'', "\""), wanted);
    }
}
