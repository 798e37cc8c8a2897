//! Ports: the containers of a pod share one network, so no two of them can listen on the same one.

use serde_json::Value;

use super::Refusal;
use crate::api::Reason;
use crate::workload::key;

/// Refuses a sidecar that declares a port, or the name of one, that another container of the pod declares.
///
/// Ordinary init containers have ended by then. What the API server takes all the same, such as one `containerPort` twice,
/// would crash whoever comes second; of two ports of one name, a Service reaches only the first.
///
/// `shipper` is the field of the shipper that listens there, if it is one.
pub(super) fn refuse_taken(pod: &Value, sidecar: &Value, shipper: Option<&str>) -> Result<(), Refusal> {
    let app = key::list(&pod["spec"], "containers");
    let native = key::list(&pod["spec"], "initContainers").filter(|container| container["restartPolicy"] == "Always");
    for other in app.chain(native).filter(|other| other["name"] != sidecar["name"]) {
        for (own, taken) in key::list(sidecar, "ports").flat_map(|own| key::list(other, "ports").map(move |taken| (own, taken)))
        {
            if let Some((field, value)) = clash(own, taken) {
                let place = match shipper {
                    // It listens where this says, whatever its container declares.
                    Some(shipper) if field == "containerPort" => format!("sidecar.{shipper}.port"),
                    _ => format!("sidecar.container.ports[].{field}"),
                };
                let other = other["name"].as_str().unwrap_or_default();
                let message = format!("container {other} has {field} {value} already: write another in {place}");
                return Err(Refusal::new(Reason::PortTaken, message));
            }
        }
    }
    Ok(())
}

/// The field in which two ports meet, and what both have there.
fn clash(own: &Value, taken: &Value) -> Option<(&'static str, String)> {
    let protocol = |port: &Value| port["protocol"].as_str().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP").to_owned();
    let same = |field: &str| own[field] == taken[field] && !own[field].is_null() && own[field] != 0 && own[field] != "";
    let number = |field: &'static str| {
        (same(field) && protocol(own) == protocol(taken)).then(|| (field, format!("{}/{}", own[field], protocol(own))))
    };
    // One address of the node each is enough to tell two of them apart.
    let address =
        |port: &Value| port["hostIP"].as_str().filter(|address| !matches!(*address, "" | "0.0.0.0" | "::")).map(str::to_owned);
    let meet = address(own).zip(address(taken)).is_none_or(|(own, taken)| own == taken);
    let name = || same("name").then(|| ("name", own["name"].as_str().unwrap_or_default().to_owned()));
    number("containerPort").or_else(|| number("hostPort").filter(|_| meet)).or_else(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_port_of_another_container_is_taken() {
        let pod = json!({"spec": {
            "containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080, "hostIP": "10.0.0.1"}]}],
            "initContainers": [
                {"name": "proxy", "restartPolicy": "Always", "ports": [{"containerPort": 9090, "protocol": "UDP"}]},
                {"name": "setup", "ports": [{"name": "setup", "containerPort": 7}]},
                {"name": "ship", "restartPolicy": "Always", "ports": [{"containerPort": 5}]},
            ],
        }});
        let table = [
            (
                json!({"containerPort": 80}),
                "container app has containerPort 80/TCP already: write another in sidecar.container.ports[].containerPort",
            ),
            (json!({"containerPort": 80, "protocol": "UDP"}), ""),
            (json!({"containerPort": 9090}), ""),
            (
                json!({"containerPort": 9090, "protocol": "UDP"}),
                "container proxy has containerPort 9090/UDP already: write another in sidecar.container.ports[].containerPort",
            ),
            (
                json!({"containerPort": 1, "hostPort": 8080}),
                "container app has hostPort 8080/TCP already: write another in sidecar.container.ports[].hostPort",
            ),
            (json!({"containerPort": 1, "hostPort": 8080, "hostIP": "10.0.0.2"}), ""),
            (
                json!({"containerPort": 1, "name": "http"}),
                "container app has name http already: write another in sidecar.container.ports[].name",
            ),
            (json!({"containerPort": 7, "name": "setup"}), ""),
            (json!({"containerPort": 5}), ""),
        ];
        for (port, expected) in table {
            let refused = refuse_taken(&pod, &json!({"name": "ship", "ports": [port]}), None);
            assert_eq!(refused.err().map(|refusal| refusal.message).unwrap_or_default(), expected, "{port}");
        }
        let refused = refuse_taken(&pod, &json!({"name": "ship", "ports": [{"containerPort": 80}]}), Some("fluentBit"));
        assert!(refused.is_err_and(|refusal| refusal.message.ends_with("write another in sidecar.fluentBit.port")));
    }
}
