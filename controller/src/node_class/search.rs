//! What an `EC2NodeClass` selects, as questions to AWS.

use std::collections::BTreeMap;

use stowage_api::crd::{AmiSelectorTerm, Ec2NodeClassSpec};
use stowage_aws::{ReservationSearch, Search};

use super::alias::{self, Parameter};

/// The questions of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Searches {
    /// Subnets.
    pub subnets: Vec<Search>,
    /// Security groups.
    pub groups: Vec<Search>,
    /// Images by id, name and tags.
    pub images: Vec<Search>,
    /// Parameters in which ids of images are; those of aliases say for which hardware.
    pub parameters: Vec<Parameter>,
    /// Why an alias leads nowhere.
    pub unsupported: Option<String>,
    /// Capacity reservations.
    pub reservations: Vec<ReservationSearch>,
    /// The placement group.
    pub placement: Option<Search>,
}

/// What to look for, in a cluster of this version of Kubernetes.
pub fn searches(spec: &Ec2NodeClassSpec, kubernetes: (u32, u32)) -> Searches {
    let of = |id: &Option<String>, name: Option<&String>, tags: &Option<BTreeMap<String, String>>| Search {
        id: id.clone(),
        name: name.cloned(),
        tags: tags.clone().unwrap_or_default(),
        owners: Vec::new(),
    };
    let mut out = Searches {
        subnets: spec.subnet_selector_terms.iter().map(|t| of(&t.id, None, &t.tags)).collect(),
        groups: spec
            .security_group_selector_terms
            .iter()
            .map(|t| of(&t.id, t.name.as_ref(), &t.tags))
            .collect(),
        placement: spec.placement_group_selector.as_ref().map(|s| of(&s.id, s.name.as_ref(), &None)),
        ..Searches::default()
    };
    for term in &spec.capacity_reservation_selector_terms {
        let mut search = of(&term.id, None, &term.tags);
        search.owners.extend(term.owner_id.clone());
        out.reservations
            .push(ReservationSearch { of: search, match_criteria: term.instance_match_criteria.clone() });
    }
    for term in &spec.ami_selector_terms {
        match term {
            AmiSelectorTerm { alias: Some(alias), .. } => match alias::parameters(alias, kubernetes) {
                Ok(parameters) => out.parameters.extend(parameters),
                Err(why) => out.unsupported = Some(why),
            },
            AmiSelectorTerm { ssm_parameter: Some(path), .. } => {
                out.parameters.push(Parameter { path: path.clone(), variants: &[] });
            }
            term => {
                let mut search = of(&term.id, term.name.as_ref(), &term.tags);
                search.owners = match (&term.owner, &term.name) {
                    (Some(owner), _) => vec![owner.clone()],
                    // Anybody may call an image anything.
                    (None, Some(_)) => vec!["self".to_owned(), "amazon".to_owned()],
                    (None, None) => Vec::new(),
                };
                out.images.push(search);
            }
        }
    }
    out
}
