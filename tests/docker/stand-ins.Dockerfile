# Debian's packages in place of the official images, for machines that reach no registry; engine.sh builds them.
FROM localhost/debian:trixie AS python
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN ln -s /usr/bin/python3 /usr/local/bin/python3 && ln -s /usr/bin/python3 /usr/local/bin/python

FROM localhost/debian:trixie AS redis
RUN install -d -o redis /data
WORKDIR /data

FROM localhost/debian:trixie AS prometheus
RUN install -d -o nobody /prometheus
USER 65534
ENTRYPOINT ["prometheus"]

FROM localhost/debian:trixie AS redis-exporter
USER 65534
ENTRYPOINT ["prometheus-redis-exporter"]
