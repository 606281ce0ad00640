# The two images, for people who have a container engine:
#   docker build --target kvorum -t kvorum .
#   docker build --target kvorum-operator -t kvorum-operator .
# `make images` builds the same without one.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# An explicit target keeps the flag away from build scripts and macros, which can't be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    host="$(rustc -vV | sed -n 's/^host: //p')" && \
    RUSTFLAGS="-C target-feature=+crt-static" CARGO_TARGET_DIR=/target \
      cargo build --release --locked --bins --target "$host" && \
    mkdir -p /server/usr/local/bin /operator/usr/local/bin /base/etc/ssl/certs /base/tmp /base/var/lib/kvorum && \
    cp "/target/$host/release/kvorum" "/target/$host/release/kvorumctl" /server/usr/local/bin/ && \
    cp "/target/$host/release/kvorum-operator" /operator/usr/local/bin/ && \
    strip --strip-debug /server/usr/local/bin/* /operator/usr/local/bin/* && \
    ln -s kvorum /server/usr/local/bin/etcd && \
    ln -s kvorumctl /server/usr/local/bin/etcdctl && \
    ln -s kvorumctl /server/usr/local/bin/etcdutl && \
    echo "kvorum:x:65532:65532:kvorum:/nonexistent:/sbin/nologin" > /base/etc/passwd && \
    echo "kvorum:x:65532:" > /base/etc/group && \
    echo "hosts: files dns" > /base/etc/nsswitch.conf && \
    cp /etc/ssl/certs/ca-certificates.crt /base/etc/ssl/certs/ && \
    chown 65532:65532 /base/tmp /base/var/lib/kvorum && chmod 700 /base/tmp /base/var/lib/kvorum

FROM scratch AS kvorum
LABEL org.opencontainers.image.title="Kvorum server and ctl" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/local/bin
COPY --from=build /base /
COPY --from=build /server /
USER 65532:65532
WORKDIR /var/lib/kvorum
EXPOSE 2379 2380 2381
CMD ["/usr/local/bin/kvorum"]

FROM scratch AS kvorum-operator
LABEL org.opencontainers.image.title="Kvorum operator" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/local/bin
COPY --from=build /base /
COPY --from=build /operator /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/kvorum-operator"]
CMD ["run"]
