//! Explanations for people.

use stowage_solver::explain::{Cheaper, Costs, Explanation, Fill, NodeStory, Place, PodStory, Prices, Rules};
use stowage_solver::{NewNode, Price};

use super::{Told, fargate, words};
use crate::money::{bill, each, hourly};
use crate::render::grid::{Align, Cell, Grid};
use crate::render::look::{Look, Style};
use crate::render::section;
use crate::text::{count, percent, safe, thousands, wrap};
use stowage_cluster::words::amount;
use stowage_cluster::words::reason::{self, pool_name, resource_name};

/// So many sorts of nodes are told of in a plan, the dearest first.
const NODES: usize = 8;
/// So many names of alike nodes are spelled out.
const NAMES: usize = 3;
/// Shares below this are left out where a fill is told in a line.
const WORTH_TELLING: f64 = 0.005;

/// The plan as a whole.
pub(super) fn whole(told: &Told<'_>, explanation: &Explanation, look: &Look) -> String {
    let mut out = String::new();
    let solution = &told.answer.solution;
    let mut line = format!(
        "{}, {} an hour; proven lower bound {}",
        count(solution.new_nodes.len(), "new node"),
        hourly(solution.cost),
        hourly(solution.kept_bound())
    );
    if !solution.unplaced.is_empty() {
        line = format!("{line}; {} without a place", count(solution.unplaced.len(), "pod"));
    }
    bold(&line, look, &mut out);
    if explanation.nodes.is_empty() {
        wrap(&mut out, "Nothing is bought, so there is nothing to explain.", look.width, "", "");
        return out;
    }
    section("Why these nodes", Style::Bold, look, &mut out);
    nodes(told, &explanation.nodes, look, &mut out);
    section("What resources are worth", Style::Bold, look, &mut out);
    prices(told, &explanation.prices, look, &mut out);
    if !explanation.rules.measured.is_empty() || explanation.rules.left_out > 0 {
        section("What rules cost", Style::Bold, look, &mut out);
        rules(told, &explanation.rules, look, &mut out);
    }
    out
}

fn bold(text: &str, look: &Look, out: &mut String) {
    let mut wrapped = String::new();
    wrap(&mut wrapped, &safe(text), look.width, "", "  ");
    for line in wrapped.lines() {
        out.push_str(&look.paint(Style::Bold, line));
        out.push('\n');
    }
}

fn dim(text: &str, look: &Look, out: &mut String) {
    let mut wrapped = String::new();
    wrap(&mut wrapped, &safe(text), look.width, "  ", "  ");
    for line in wrapped.lines() {
        out.push_str(&look.paint(Style::Dim, line));
        out.push('\n');
    }
}

/// Stories of one kind of node by what they cost together.
fn nodes(told: &Told<'_>, stories: &[NodeStory], look: &Look, out: &mut String) {
    let like = |story: &NodeStory| &told.answer.solution.new_nodes[story.nodes[0] as usize];
    let cost = |story: &NodeStory| {
        let node = like(story);
        (node.price - node.rebate + node.fixed_cost) * story.nodes.len() as u32
    };
    let mut order: Vec<&NodeStory> = stories.iter().collect();
    order.sort_by(|a, b| cost(b).cmp(&cost(a)).then(a.nodes.cmp(&b.nodes)));
    let listed = order.len().min(NODES);
    for story in &order[..listed] {
        let node = like(story);
        let names: Vec<&str> =
            story.nodes.iter().take(NAMES).map(|at| told.names[*at as usize].as_str()).collect();
        let more = story.nodes.len() - names.len();
        let more = if more > 0 { format!(" and {} alike", thousands(more as u64)) } else { String::new() };
        let title = format!("{}{more}: {}", names.join(", "), what(told, node));
        wrap(out, &safe(&title), look.width, "  ", "    ");
        let full =
            format!("{}: {}", words::binding(told.problem(), &story.binding), fills(told, &story.fills));
        wrap(out, &safe(&full), look.width, "    - ", "      ");
        if let Some(next) = story.cheaper.first() {
            let place = told.answer.offering(node);
            let here = next.offering.is_some_and(|at| {
                let other = &told.problem().types[next.instance_type.index()].offerings[at as usize];
                next.pool == node.pool
                    && (&other.zone, &other.capacity_type) == (&place.zone, &place.capacity_type)
            });
            let which = if here { "next cheaper" } else { "nothing cheaper here; elsewhere" };
            let line = format!("{which}, {}", other(told, next));
            wrap(out, &safe(&line), look.width, "    - ", "      ");
        }
        if story.tally.is_empty() {
            out.push_str("    - nothing on offer is cheaper\n");
        }
        let told_already = |s: &Cheaper| story.cheaper.first().is_some_and(|c| c == s);
        if let Some(smaller) = story.smaller.as_ref().filter(|s| !told_already(s)) {
            let line = format!("a size smaller, {}", other(told, smaller));
            wrap(out, &safe(&line), look.width, "    - ", "      ");
        }
    }
    if listed < order.len() {
        let rest: usize = order[listed..].iter().map(|s| s.nodes.len()).sum();
        let line = format!("and {} more, each on its own: stowage explain node NAME", count(rest, "node"));
        dim(&line, look, out);
    }
}

fn what(told: &Told<'_>, node: &NewNode) -> String {
    let offering = told.answer.offering(node);
    let mark = if offering.estimated { "~" } else { "" };
    format!(
        "{} {} {} {mark}{}, {}",
        told.answer.instance_type(node).name,
        offering.zone,
        offering.capacity_type,
        each(node.price),
        count(node.pods.len(), "pod")
    )
}

fn fills(told: &Told<'_>, fills: &[Fill]) -> String {
    let one = |fill: &Fill| {
        let name = resource_name(told.problem(), fill.resource);
        format!("{name} {}%", (fill.share() * 100.0) as u32)
    };
    let worth = fills.iter().filter(|f| f.share() >= WORTH_TELLING);
    let all: Vec<String> = worth.map(one).collect();
    if all.is_empty() { "hardly anything asked for".to_owned() } else { all.join(", ") }
}

/// A cheaper kind and what is in its way.
fn other(told: &Told<'_>, cheaper: &Cheaper) -> String {
    let problem = told.problem();
    let of_type = &problem.types[cheaper.instance_type.index()];
    let name = &of_type.name;
    let place = cheaper.offering.and_then(|at| of_type.offerings.get(at as usize));
    let place = place.map_or_else(String::new, |o| format!(" {} {}", o.zone, o.capacity_type));
    let saves =
        if cheaper.saves > Price::ZERO { format!(" saves {}", each(cheaper.saves)) } else { String::new() };
    format!("{name}{place}{saves}: {}", words::hurdle(problem, cheaper))
}

fn prices(told: &Told<'_>, prices: &Prices, look: &Look, out: &mut String) {
    let problem = told.problem();
    let mut grid = Grid::new(2);
    grid.name("RESOURCE").column("$/H EACH", Align::Right).name("UNIT").column("ASKED FOR", Align::Right);
    grid.column("$/H", Align::Right).column("SHARE", Align::Right).name("BETWEEN");
    for price in prices.resources.iter().filter(|p| p.value > Price::ZERO) {
        let name = resource_name(problem, price.resource);
        let (unit, base) = words::unit(problem, price.resource);
        let each = |value: f64| format!("${:.5}", value * base);
        let between = if (price.most - price.least) * base < 1e-5 {
            String::new()
        } else {
            format!("{} and {}", each(price.least), each(price.most))
        };
        grid.row(vec![
            name.into(),
            each(price.each).into(),
            unit.into(),
            amount::human(name, price.amount).into(),
            bill(price.value, prices.gross).into(),
            share(price.value, prices.gross).into(),
            between.into(),
        ]);
    }
    grid.render(look, out);
    for rule in &prices.host_rules {
        let line = format!(
            "places on nodes that at most {} of {} share: {} ({})",
            rule.share,
            words::pods(problem, rule.pod, rule.pods),
            bill(rule.value, prices.gross),
            share(rule.value, prices.gross)
        );
        wrap(out, &safe(&line), look.width, "  ", "    ");
    }
    let free: Vec<&str> = prices
        .resources
        .iter()
        .filter(|p| p.value == Price::ZERO)
        .map(|p| resource_name(problem, p.resource))
        .collect();
    let mut line = format!(
        "dual prices of the resource bound, which proves {} of {}",
        hourly(prices.bound),
        hourly(prices.best_bound)
    );
    if prices.routes > Price::ZERO {
        let (value, part) = (bill(prices.routes, prices.gross), share(prices.routes, prices.gross));
        let pods = format!("pods worth what Fargate asks for them: {value} ({part})");
        wrap(out, &pods, look.width, "  ", "    ");
    }
    if prices.existing > Price::ZERO {
        line = format!("{line}, after {} for room on existing nodes", hourly(prices.existing));
    }
    if prices.quotas > Price::ZERO {
        line = format!("{line}, after {} for what is paid for already", hourly(prices.quotas));
    }
    if !free.is_empty() {
        line = format!("{line}; there is more than enough of {}", free.join(", "));
    }
    dim(&line, look, out);
}

fn share(part: Price, whole: Price) -> String {
    if whole > Price::ZERO { percent(part.dollars() / whole.dollars(), 0) } else { "-".to_owned() }
}

fn rules(told: &Told<'_>, rules: &Rules, look: &Look, out: &mut String) {
    let problem = told.problem();
    let whole = told.answer.solution.cost;
    let (mut listed, mut free) = (Vec::new(), 0);
    for rule in &rules.measured {
        let nothing =
            |c: &Costs| c.plan == Price::ZERO && c.bound == Price::ZERO && c.at_least == Price::ZERO;
        if rule.costs.as_ref().is_some_and(nothing) && rule.without.unplaced >= rules.base.unplaced {
            free += 1;
        } else {
            listed.push(rule);
        }
    }
    if !listed.is_empty() {
        let mut grid = Grid::new(2);
        grid.name("WITHOUT").column("BOUND FALLS", Align::Right).column("PLAN FALLS", Align::Right);
        grid.column("PROVEN", Align::Right);
        for rule in listed {
            let mut row = vec![Cell::from(words::rule(problem, &rule.rule))];
            if let Some(costs) = rule.costs {
                row.push(bill(costs.bound, whole).into());
                row.push(bill(costs.plan, whole).into());
                row.push(format!("{} to {}", bill(costs.at_least, whole), bill(costs.at_most, whole)).into());
            } else {
                let base = i64::from(rules.base.unplaced);
                let more = base - i64::from(rule.without.unplaced);
                row.extend([Cell::from("-"), Cell::from("-")]);
                let places = match more {
                    0 => "places other pods".to_owned(),
                    n if n > 0 => format!("places {} more", count(n as usize, "pod")),
                    n => format!("places {} fewer", count(n.unsigned_abs() as usize, "pod")),
                };
                row.push(places.into());
            }
            grid.row(row);
        }
        grid.render(look, out);
    }
    if free > 0 {
        let line = match free {
            1 => "1 rule costs nothing that could be measured".to_owned(),
            n => format!("{} cost nothing that could be measured", count(n, "rule")),
        };
        wrap(out, &line, look.width, "  ", "    ");
    }
    if rules.left_out > 0 {
        let left = count(rules.left_out as usize, "rule");
        let line = format!("{left} not measured, those of the smallest share of requests (--rules COUNT)");
        wrap(out, &line, look.width, "  ", "    ");
    }
    let meaning = "$ an hour. Each rule alone was relaxed and the problem solved again with quick effort: both falls are \
                   estimates, the range is what bounds and bills prove. Falls do not add up.";
    dim(meaning, look, out);
}

/// One node.
pub(super) fn node(told: &Told<'_>, at: usize, story: &NodeStory, look: &Look) -> String {
    let mut out = String::new();
    let problem = told.problem();
    let node = &told.answer.solution.new_nodes[at];
    bold(
        &format!("{}: {}, NodePool {}", told.names[at], what(told, node), told.answer.pool(node).name),
        look,
        &mut out,
    );
    wrap(&mut out, &safe(&words::binding(problem, &story.binding)), look.width, "", "  ");
    if story.nodes.len() > 1 {
        let others = match story.nodes.len() - 1 {
            1 => "1 other node of the plan holds as much".to_owned(),
            n => format!("{} of the plan hold as much", count(n, "other node")),
        };
        wrap(&mut out, &others, look.width, "", "  ");
    }
    section("How full", Style::Bold, look, &mut out);
    let mut grid = Grid::new(2);
    grid.name("RESOURCE").column("FULL", Align::Right).column("PODS", Align::Right);
    grid.column("DAEMONSETS", Align::Right).column("OF", Align::Right);
    for fill in &story.fills {
        let name = resource_name(problem, fill.resource);
        let human = |amount: i64| Cell::from(amount::human(name, amount));
        let full = format!("{}%", (fill.share() * 100.0) as u32);
        grid.row(vec![name.into(), full.into(), human(fill.pods), human(fill.daemons), human(fill.of)]);
    }
    grid.render(look, &mut out);
    section("Why nothing cheaper", Style::Bold, look, &mut out);
    for cheaper in &story.cheaper {
        wrap(&mut out, &safe(&other(told, cheaper)), look.width, "  - ", "    ");
    }
    let listed = story.smaller.as_ref().is_some_and(|s| story.cheaper.contains(s));
    if let Some(smaller) = story.smaller.as_ref().filter(|_| !listed) {
        let line = format!("a size smaller, {}", other(told, smaller));
        wrap(&mut out, &safe(&line), look.width, "  - ", "    ");
    }
    let all: u32 = story.tally.iter().map(|t| t.kinds).sum();
    let tally: Vec<String> = story
        .tally
        .iter()
        .map(|t| format!("{} {}", thousands(u64::from(t.kinds)), words::hurdle_count(problem, t.sort)))
        .collect();
    let line = match all {
        0 => "nothing on offer is cheaper".to_owned(),
        _ => format!("of {} in all, {}", count(all as usize, "cheaper offer"), tally.join(", ")),
    };
    wrap(&mut out, &safe(&line), look.width, "  ", "    ");
    section("Pods", Style::Bold, look, &mut out);
    let names: Vec<&str> = node.pods.iter().map(|pod| told.pod(*pod)).collect();
    wrap(&mut out, &safe(&names.join(", ")), look.width, "  ", "  ");
    out
}

/// One pod that is not planned for, with what is to be told of it all the same.
pub(super) fn placed(story: &fargate::Story, look: &Look) -> String {
    let mut out = String::new();
    bold(&format!("{} is not among the pods that are planned for", story.name()), look, &mut out);
    fargate::table(story, look, &mut out);
    out
}

/// One pod.
pub(super) fn pod(
    told: &Told<'_>,
    story: &PodStory,
    on_fargate: Option<&fargate::Story>,
    look: &Look,
) -> String {
    let mut out = String::new();
    let problem = told.problem();
    let name = told.pod(story.pod);
    match &story.place {
        Place::New { node, share, of } => {
            let at = *node as usize;
            let line = format!("{name} goes to new node {}: {}", told.names[at], {
                what(told, &told.answer.solution.new_nodes[at])
            });
            bold(&line, look, &mut out);
            if let Some(of) = of {
                let line =
                    format!("it takes {} of the node's {}", percent(*share, 1), resource_name(problem, *of));
                wrap(&mut out, &safe(&line), look.width, "", "  ");
            }
        }
        Place::Existing(node) => {
            let node = &problem.nodes[node.index()].name;
            bold(&format!("{name} goes to existing node {node}, which costs nothing more"), look, &mut out);
        }
        Place::Routed(price) => {
            let line = format!("{name} goes to Fargate, for {} an hour", each(*price));
            bold(&line, look, &mut out);
        }
        Place::Nowhere(reasons) => {
            bold(&format!("{name} has no place"), look, &mut out);
            for reason in reasons {
                wrap(&mut out, &safe(&reason::sentence(problem, reason)), look.width, "  - ", "    ");
            }
        }
    }
    if let Some(c) = &story.cheapest {
        let of_type = &problem.types[c.instance_type.index()];
        let offering = &of_type.offerings[c.offering as usize];
        let line = format!(
            "alone, the cheapest node for it is {} {} {} at {}, NodePool {}",
            of_type.name,
            offering.zone,
            offering.capacity_type,
            each(c.price),
            pool_name(problem, c.pool)
        );
        wrap(&mut out, &safe(&line), look.width, "", "  ");
    }
    of_fargate(told, story, on_fargate, look, &mut out);
    if !story.pools.is_empty() {
        section("NodePools", Style::Bold, look, &mut out);
    }
    for pool in &story.pools {
        let line = format!(
            "{}: {} of {} could hold it, other pods aside",
            pool_name(problem, pool.pool),
            thousands(u64::from(pool.fit)),
            count(pool.kinds as usize, "offer")
        );
        wrap(&mut out, &safe(&line), look.width, "  ", "    ");
        for refusal in &pool.refused {
            let line =
                format!("{} {}", thousands(u64::from(refusal.count)), words::unfit(problem, &refusal.why));
            wrap(&mut out, &safe(&line), look.width, "    - ", "      ");
        }
    }
    if !story.nodes.is_empty() {
        section("Existing nodes", Style::Bold, look, &mut out);
    }
    for tally in &story.nodes {
        let example = &problem.nodes[tally.example.index()].name;
        let line = format!(
            "{} {}, such as {example}",
            thousands(u64::from(tally.nodes)),
            words::unfit(problem, &tally.why)
        );
        wrap(&mut out, &safe(&line), look.width, "  - ", "    ");
    }
    if let Place::Nowhere(reasons) = &story.place {
        section("What would help", Style::Good, look, &mut out);
        let mut any = false;
        for remedy in &story.remedies {
            any = true;
            let more =
                if remedy.pods > 1 { format!(", and {} more", remedy.pods - 1) } else { String::new() };
            let line = format!(
                "without {} it finds a place{more} (solved again)",
                words::rule(problem, &remedy.rule)
            );
            wrap(&mut out, &safe(&line), look.width, "  - ", "    ");
        }
        for hint in reasons.iter().filter_map(|r| reason::hint(problem, r)) {
            any = true;
            wrap(&mut out, &safe(&hint), look.width, "  - ", "    ");
        }
        if !any {
            wrap(&mut out, "no rule alone keeps it out", look.width, "  ", "  ");
        }
    }
    out
}

/// Whether a pod could run on Fargate by the plan, and by policies.
fn of_fargate(
    told: &Told<'_>,
    story: &PodStory,
    by_policy: Option<&fargate::Story>,
    look: &Look,
    out: &mut String,
) {
    for line in told.on_fargate(story) {
        wrap(out, &safe(&line), look.width, "", "  ");
    }
    if let Some(story) = by_policy {
        fargate::table(story, look, out);
    }
}
