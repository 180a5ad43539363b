# Workers have no public addresses. Storage is reached by Private Google Access; NAT only where sources lie elsewhere.
# Batch jobs shuffle in the service, so workers do not talk to each other and no firewall rule is needed.

locals {
  own_network = var.subnetwork == null
  subnetwork  = local.own_network ? google_compute_subnetwork.workers[0].self_link : var.subnetwork
}

resource "google_compute_network" "workers" {
  count = local.own_network ? 1 : 0

  name                    = local.name
  auto_create_subnetworks = false

  depends_on = [google_project_service.used]
}

resource "google_compute_subnetwork" "workers" {
  count = local.own_network ? 1 : 0

  name                     = local.name
  network                  = google_compute_network.workers[0].id
  region                   = var.region
  ip_cidr_range            = "10.10.0.0/20" # 4,092 machines, more than a job may have
  private_ip_google_access = true
}

resource "google_compute_router" "workers" {
  count = local.own_network && var.internet ? 1 : 0

  name    = local.name
  network = google_compute_network.workers[0].id
  region  = var.region
}

resource "google_compute_router_nat" "workers" {
  count = local.own_network && var.internet ? 1 : 0

  name                               = local.name
  router                             = google_compute_router.workers[0].name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"
}
