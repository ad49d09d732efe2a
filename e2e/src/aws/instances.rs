//! EC2 as those see it who look from outside: what runs, and what it was told.

use anyhow::{Context as _, Result, ensure};

use super::moto::Moto;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its type.
    pub instance_type: String,
    /// Its zone.
    pub zone: String,
    /// `running`, `terminated`.
    pub state: String,
    /// Its name inside the network.
    pub private_name: String,
    /// The NodeClaim that it was launched for; empty where no tag says so.
    pub claim: String,
    /// Its name, as a tag says.
    pub name: String,
}

/// Asks moto itself, past the server that Stowage asks: it is not counted, and does not fail.
#[derive(Clone, Debug)]
pub struct Ec2Form {
    port: u16,
    region: String,
}

impl Ec2Form {
    pub(crate) fn new(port: u16, region: &str) -> Self {
        Self { port, region: region.to_owned() }
    }

    /// EC2's answer, as it stands.
    ///
    /// # Errors
    /// Where moto does not answer.
    pub fn ask(&self, action: &str, more: &[(&str, &str)]) -> Result<String> {
        let mut form = vec![("Action", action), ("Version", "2016-11-15")];
        form.extend(more);
        // moto looks here for service and region; nobody checks the signature.
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=x/20260101/{}/ec2/aws4_request, SignedHeaders=host, Signature=x",
            self.region
        );
        let _turn = Moto::turn();
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let moto = ureq::Agent::new_with_config(config).post(format!("http://127.0.0.1:{}", self.port));
        let mut answer = moto.header("Authorization", signed).send_form(form)?;
        let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string().context("no text")?;
        ensure!(answer.status().is_success(), "moto answers {} to {action}: {text}", answer.status());
        Ok(text)
    }

    /// Machines that were launched for a cluster.
    ///
    /// # Errors
    /// Where moto does not answer.
    pub fn machines(&self, cluster: &str) -> Result<Vec<Instance>> {
        let tag = format!("tag:kubernetes.io/cluster/{cluster}");
        let answer =
            self.ask("DescribeInstances", &[("Filter.1.Name", &tag), ("Filter.1.Value.1", "owned")])?;
        let first = |text: &str, tag: &str| all(text, tag).into_iter().next().unwrap_or_default();
        let of = |text: &str| {
            let tagged = |key: &str| {
                let after = text.split(&format!("<key>{key}</key>")).nth(1);
                after.map(|rest| first(rest, "value")).unwrap_or_default()
            };
            Instance {
                id: first(text, "instanceId"),
                instance_type: first(text, "instanceType"),
                zone: first(text, "availabilityZone"),
                state: first(&first(text, "instanceState"), "name"),
                private_name: first(text, "privateDnsName"),
                claim: tagged("karpenter.sh/nodeclaim"),
                name: tagged("Name"),
            }
        };
        Ok(answer.split("<instancesSet>").skip(1).map(of).collect())
    }

    /// What a machine was told, in base64; empty where it was told nothing.
    ///
    /// # Errors
    /// Where moto does not answer.
    pub fn user_data(&self, id: &str) -> Result<String> {
        let answer =
            self.ask("DescribeInstanceAttribute", &[("InstanceId", id), ("Attribute", "userData")])?;
        Ok(all(&answer, "value").into_iter().next().unwrap_or_default())
    }
}

/// What stands between the tags of this name.
pub fn all(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&open).skip(1).filter_map(|rest| Some(rest.split(&close).next()?.to_owned())).collect()
}
