FROM postgres:17
RUN ln -sf /usr/share/zoneinfo/Europe/Berlin /etc/localtime
