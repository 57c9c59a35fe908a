#!/usr/bin/env bash
# engine.sh COMMAND…: build the project's images and run COMMAND where `$COMPOSE` reaches a container engine.
#
# Where there is Docker with Compose, it is used. Elsewhere (Debian, as root) podman serves Docker's API, Compose comes
# from Debian 13, and images of Debian's own packages stand in for the official ones under their tags, as no registry is
# asked. Containers then run in network, mount and process namespaces of their own, so nothing of the machine is changed.
#
# With CUDA=1 the first stage of the GPU image is built, too, which takes four gigabytes.
set -euo pipefail
cd "$(dirname "$0")/../.."

if docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
  export COMPOSE="docker compose"
  $COMPOSE -f docker-compose.yml -f tests/docker/cuda.yml build api ${CUDA:+cuda}
  exec "$@"
fi

test "$(id -u)" = 0 && command -v apt-get >/dev/null \
  || { echo "the image test needs Docker with Compose, or Debian and root"; exit 1; }
needed=(podman buildah crun netavark aardvark-dns catatonit mmdebstrap iptables iproute2)
dpkg -s "${needed[@]}" >/dev/null 2>&1 \
  || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${needed[@]}" >/dev/null; }

state=$PWD/work/engine
mkdir -p "$state"
cat >"$state/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$state/images"
runroot = "/run/stellar-engine"
END
cat >"$state/containers.conf" <<END
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=4096:4096"]
init_path = "/usr/bin/catatonit"
log_driver = "k8s-file"
[network]
network_backend = "netavark"
network_config_dir = "$state/networks"
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
END
export CONTAINERS_STORAGE_CONF=$state/storage.conf CONTAINERS_CONF=$state/containers.conf
export BUILDAH_ISOLATION=chroot STAND_INS=1
export DOCKER_HOST=unix://$state/engine.sock COMPOSE="'$state/docker-compose'"

# Names of the images that stand-ins are for, as the project's own files have them.
image_of() { sed -nE "s|^ *image: ($1:.*)|\1|p" docker-compose.yml; }
python=$(sed -nE 's/^ARG PYTHON_IMAGE=//p' docker/Dockerfile)

debian() { # a Debian 13 with what the stand-ins are made of, and Compose
  local mirror plugin=/usr/libexec/docker/cli-plugins/docker-compose
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -n 1)
  mmdebstrap --quiet --variant=minbase \
    --include=ca-certificates,python3,python3-pip,python3-venv,redis-server,prometheus,prometheus-redis-exporter,wget \
    --dpkgopt=path-exclude=/usr/share/doc/* --dpkgopt=path-exclude=/usr/share/man/* \
    --customize-hook='chroot "$1" sh -c "cd /tmp && apt-get -qq download docker-compose && dpkg-deb -x *.deb /compose"' \
    --customize-hook="copy-out /compose$plugin '$state'" --customize-hook='rm -r "$1"/compose "$1"/tmp/*.deb' \
    trixie "$state/debian.tar" ${mirror:+"$mirror"}
  podman import --quiet "$state/debian.tar" localhost/debian:trixie >/dev/null
  rm "$state/debian.tar"
}

stand_ins() {
  local context=$state/context
  mkdir -p "$context"
  cp /etc/ssl/certs/ca-certificates.crt "$context"
  for each in "python $python" "redis $(image_of redis)" "prometheus $(image_of prom/prometheus)" \
    "redis-exporter $(image_of oliver006/redis_exporter)"; do
    read -r target tag <<<"$each"
    podman build --quiet --format docker --file tests/docker/stand-ins.Dockerfile --target "$target" \
      --tag "docker.io/${tag#docker.io/}" "$context" >/dev/null
  done
}

inside() {
  mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified # crun wants one kind of control groups
  mount -t tmpfs none /run
  mount -t tmpfs -o mode=1777 none /dev/shm
  ip link set lo up
  podman system service --time 0 "$DOCKER_HOST" 2>"$state/engine.log" &
  until test -S "$state/engine.sock"; do sleep 0.1; done
  # Health checks are for systemd to run, which is not here.
  while sleep 1; do podman ps --quiet | xargs -r -n 1 podman healthcheck run || true; done >/dev/null 2>&1 &
  "$@"
}

podman image exists localhost/debian:trixie || debian
stand_ins
index=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}
while read -r extra target; do
  podman build --quiet --format docker --file docker/Dockerfile --target "$target" --build-arg "EXTRA=$extra" \
    --build-arg "PIP_INDEX_URL=$index" --tag "docker.io/library/stellar-service:$extra" .
done <<<"cpu service${CUDA:+$'\n'cuda packages}"
rm -f "$state/engine.sock"
export state
export -f inside
unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private bash -euc 'inside "$@"' inside "$@"
