# The program alone: no shell, no library, no user's name. docker build -t elika .

FROM rust:1-slim-bookworm AS build
WORKDIR /elika
COPY . .
RUN scripts/build-static

FROM scratch
COPY --from=build /elika/target/static/elika-proxy /elika-proxy
USER 65534:65534
EXPOSE 6378 7080
ENTRYPOINT ["/elika-proxy"]
