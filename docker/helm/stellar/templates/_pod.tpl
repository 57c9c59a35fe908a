{{/* What the pods of a part (api, worker) are selected by. Takes (dict "root" $ "part" "api"). */}}
{{- define "stellar.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{/* Labels of every object of a part. */}}
{{- define "stellar.labels" -}}
{{ include "stellar.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* Name and labels of an object of a part. */}}
{{- define "stellar.metadata" -}}
name: {{ .root.Release.Name }}-{{ .part }}
labels:
  {{- include "stellar.labels" . | nindent 2 }}
{{- end }}

{{/* What both kinds of pods have in common. */}}
{{- define "stellar.pod" -}}
{{- $values := index .root.Values .part -}}
automountServiceAccountToken: false
enableServiceLinks: false # or the Service's own variables, STELLAR_API_PORT and others, look like settings
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "stellar.selector" . | nindent 8 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 1Gi}
  {{- with .root.Values.modelsClaim }}
  - name: models
    persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
  {{- end }}
{{- end }}

{{/* What both kinds of containers have in common. */}}
{{- define "stellar.container" -}}
{{- $values := index .root.Values .part -}}
name: {{ .part }}
image: {{ $values.image }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml $values.resources | nindent 2 }}
{{- end }}

{{/* Variables of both kinds of containers. */}}
{{- define "stellar.env" -}}
{{- $values := index .root.Values .part -}}
- {name: STELLAR_HOST, value: 0.0.0.0}
- {name: STELLAR_LOG_FORMAT, value: json}
- name: STELLAR_REDIS_URL
  valueFrom:
    secretKeyRef: {{- toYaml .root.Values.redis.urlSecret | nindent 6 }}
{{- if .root.Values.modelsClaim }}
- {name: STELLAR_MODELS_DIR, value: /models}
{{- end }}
{{- with .root.Values.tracing.endpoint }}
- {name: STELLAR_TRACING, value: "true"}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := $values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* Mounts of both kinds of containers. */}}
{{- define "stellar.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .root.Values.modelsClaim }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- end }}
