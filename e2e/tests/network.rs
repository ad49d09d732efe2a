//! Watches that drop, a network that goes silent, and replicas that do not know that they lead no more.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;

use std::thread;
use std::time::Duration;

use serde_json::json;
use stowage_e2e::{Controller, Relay, World};

use common::{DEPLOYMENTS, POOLS, Random, deployment, node_pool, nothing_is_left_over, one_a_node, settled};

fn world(name: &str) -> World {
    let world = World::start(name).unwrap();
    world.client().create(POOLS, &node_pool("default", &json!({}))).unwrap();
    world
}

#[test]
fn a_network_that_drops_watches_or_goes_silent_is_outlived() {
    let world = world("relay");
    let relay = Relay::start(world.api_server().unwrap()).unwrap();
    let controller = world.controller_behind(&relay, "behind", &[]).unwrap();
    let mut moments = Random(0x2545_f491);
    for round in 0..20 {
        if round % 2 == 0 {
            let name = format!("web-{round}");
            world.client().create(DEPLOYMENTS, &deployment(&name, 2, "900m", &one_a_node(&name))).unwrap();
        }
        thread::sleep(Duration::from_millis(moments.below(1_500)));
        relay.cut();
    }
    settled(&world, 20);
    assert!(relay.connections() > 20, "watches were made anew");
    // Nothing arrives, and nobody is told: shorter than a lease lasts.
    relay.silence(true);
    world.client().create(DEPLOYMENTS, &deployment("late", 4, "900m", &one_a_node("late"))).unwrap();
    thread::sleep(Duration::from_secs(6));
    relay.silence(false);
    settled(&world, 24);
    nothing_is_left_over(&world);
    assert!(controller.is_ready(), "it was never restarted");
}

#[test]
fn a_leader_that_wakes_too_late_does_no_harm() {
    let world = world("fight");
    let mut replicas =
        vec![world.controller("first", &[]).unwrap(), world.controller("second", &[]).unwrap()];
    world.until("both to be ready", |_| Ok(replicas.iter().all(Controller::is_ready).then_some(()))).unwrap();
    for round in 0..3 {
        let name = format!("web-{round}");
        let before = world.machines().unwrap().len();
        world.client().create(DEPLOYMENTS, &deployment(&name, 6, "900m", &one_a_node(&name))).unwrap();
        world.until("the next machine", |w| Ok((w.machines()?.len() > before).then_some(()))).unwrap();
        // The one that leads falls asleep in the midst of it, for longer than its lease lasts.
        let leads = |of: &Controller| of.log().unwrap().contains("leads lease=");
        let at = replicas.iter().position(leads).unwrap();
        let mut asleep = replicas.remove(at);
        asleep.pause(true).unwrap();
        world.until("the other to lead", |_| Ok(leads(&replicas[0]).then_some(()))).unwrap();
        let pods = (round + 1) * 6;
        world.until("all pods to run", |w| Ok((w.running()? == pods).then_some(()))).unwrap();
        asleep.pause(false).unwrap();
        world.until("the sleeper to end", |_| Ok(asleep.has_ended().then_some(()))).unwrap();
        drop(asleep);
        replicas.push(world.controller(&format!("next-{round}"), &[]).unwrap());
        settled(&world, pods);
        nothing_is_left_over(&world);
    }
}
