# The program alone: no shell, no library, no user's name. docker build -t elika .
# With musl instead of glibc: docker build --build-arg LIBC=musl -t elika .

FROM rust:1-slim-bookworm AS build
ARG LIBC=gnu
WORKDIR /elika
RUN [ "$LIBC" = gnu ] || rustup target add "$(uname -m)-unknown-linux-$LIBC"
COPY . .
RUN scripts/build-static

FROM scratch
COPY --from=build /elika/target/static/elika-proxy /elika-proxy
USER 65534:65534
EXPOSE 6378 7080
ENTRYPOINT ["/elika-proxy"]
